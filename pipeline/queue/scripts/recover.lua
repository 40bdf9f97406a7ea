-- Put jobs whose worker went silent back to the front of their queue, or fail them when they
-- have been tried often enough. Atomic, so any number of workers may run it at once.
-- KEYS: doorbell, then the queues
-- ARGV: key prefix, ISO time, seconds a failure lives, RQ's exc_string of the failure, reply
--       of the failure as JSON, most tries of a job whatever it says, prefix of reply channels
-- Returns {jobs put back, jobs failed, malformed entries that were removed}.
local prefix, iso, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local tries_max, replies = tonumber(ARGV[6]), ARGV[7]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local back, failed = 0, 0
for i = 2, #KEYS do
  local name = string.sub(KEYS[i], #prefix + 8)
  local wip = prefix .. ':wip:' .. name
  local expired = ours('ZRANGEBYSCORE', wip, '-inf', now, 'LIMIT', 0, 256)
  -- No lease is a day long: such a job would be kept from all workers for as long.
  for _, never in ipairs(redis.call('ZRANGEBYSCORE', wip, now + 86400, '+inf', 'LIMIT', 0, 256)) do
    malformed = malformed + 1
    expired[#expired + 1] = never
  end
  local lost = {}
  for _, composite in ipairs(expired) do
    local id, execution = string.match(composite, '^(.*):([^:]*)$')
    if id and is_id(id) and #execution <= 64 then
      local job = ours('HMGET', prefix .. ':job:' .. id, 'status', 'retries_left',
        'damoscope_reply', 'worker_name', 'enqueued_at', 'damoscope_taken', 'number_of_retries', 'damoscope_withdrawn')
      lost[#lost + 1] = {composite, id, execution, job}
    else
      redis.call('ZREM', wip, composite)
      malformed = malformed + 1
    end
  end
  -- Oldest last, so that it ends at the very front; RQ's times sort as text.
  table.sort(lost, function(a, b) return (a[4][5] or '') > (b[4][5] or '') end)
  for _, entry in ipairs(lost) do
    local composite, id, execution, job = entry[1], entry[2], entry[3], entry[4]
    local key = prefix .. ':job:' .. id
    redis.call('ZREM', wip, composite)
    redis.call('DEL', prefix .. ':execution:' .. composite)
    ours('ZREM', prefix .. ':executions:' .. id, execution)
    if job[4] then
      ours('SREM', prefix .. ':worker:' .. job[4] .. ':executions', composite)
    end
    if job[1] == 'started' and job[8] then  -- its client took it back meanwhile
      redis.call('HSET', key, 'status', 'canceled', 'ended_at', iso)
      redis.call('EXPIRE', key, ttl)
      ours('ZADD', prefix .. ':canceled:' .. name, time[1], id)
    elseif job[1] == 'started' then
      local left = count(job[2], tries_max)
      if left > 0 and count(job[6], 1000) < tries_max then
        redis.call('HSET', key, 'status', 'queued', 'started_at', '', 'worker_name', '',
          'retries_left', left - 1, 'number_of_retries', count(job[7], 1000) + 1)
        ours('LPUSH', KEYS[i], id)
        ours('RPUSH', KEYS[1], '')
        back = back + 1
      else
        redis.call('HSET', key, 'status', 'failed', 'ended_at', iso)
        redis.call('EXPIRE', key, ttl)
        ours('XADD', prefix .. ':results:' .. id, 'MAXLEN', 10, '*', 'type', 2,
          'worker_name', job[4] or '', 'exc_string', ARGV[4])
        redis.call('EXPIRE', prefix .. ':results:' .. id, ttl)
        ours('ZADD', prefix .. ':failed:' .. name, now + ttl, id)
        local channel = job[3] or ''
        if string.sub(channel, 1, #replies) == replies and #channel <= 100 then
          redis.call('PUBLISH', channel, id .. ' ' .. ARGV[5])
        end
        failed = failed + 1
      end
    end
  end
end
return {back, failed, malformed}
