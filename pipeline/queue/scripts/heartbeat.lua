-- Extend the lease of executions that are still in hand.
-- ARGV: key prefix, lease in seconds, then queue name, job id, execution id of each
-- Returns {how many are; malformed entries that were removed}.
local prefix, lease = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local kept = 0
for i = 3, #ARGV, 3 do
  local queue, id, execution = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local composite = id .. ':' .. execution
  if ours('ZSCORE', prefix .. ':wip:' .. queue, composite) then
    -- First what needs no memory: a Redis that is full then lets the rest pass (finish.lua).
    redis.call('EXPIRE', prefix .. ':executions:' .. id, lease + 60)
    ours('ZADD', prefix .. ':wip:' .. queue, now + lease, composite)
    ours('HSET', prefix .. ':execution:' .. composite, 'last_heartbeat', now)
    redis.call('EXPIRE', prefix .. ':execution:' .. composite, lease + 60)
    ours('ZADD', prefix .. ':executions:' .. id, now + lease + 60, execution)
    redis.call('EXPIRE', prefix .. ':executions:' .. id, lease + 60)
    kept = kept + 1
  end
end
return {kept, malformed}
