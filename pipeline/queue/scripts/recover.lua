-- Put jobs whose worker went silent back to the front of their queue, or fail them when they
-- have been tried often enough. Atomic, so any number of workers may run it at once.
-- KEYS: doorbell, then the queues
-- ARGV: key prefix, ISO time, seconds a failure lives, RQ's exc_string of the failure, reply
--       of the failure as JSON
-- Returns {jobs put back, jobs failed}.
local prefix, iso, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local back, failed = 0, 0
for i = 2, #KEYS do
  local name = string.sub(KEYS[i], #prefix + 8)
  local wip = prefix .. ':wip:' .. name
  local expired = redis.call('ZRANGEBYSCORE', wip, '-inf', now, 'LIMIT', 0, 256)
  local lost = {}
  for _, composite in ipairs(expired) do
    local id, execution = string.match(composite, '^(.*):([^:]*)$')
    local job = redis.call('HMGET', prefix .. ':job:' .. id, 'status', 'retries_left',
      'damoscope_reply', 'worker_name', 'enqueued_at')
    lost[#lost + 1] = {composite, id, execution, job}
  end
  -- Oldest last, so that it ends at the very front; RQ's times sort as text.
  table.sort(lost, function(a, b) return (a[4][5] or '') > (b[4][5] or '') end)
  for _, entry in ipairs(lost) do
    local composite, id, execution, job = entry[1], entry[2], entry[3], entry[4]
    local key = prefix .. ':job:' .. id
    redis.call('ZREM', wip, composite)
    redis.call('DEL', prefix .. ':execution:' .. composite)
    redis.call('ZREM', prefix .. ':executions:' .. id, execution)
    if job[4] then
      redis.call('SREM', prefix .. ':worker:' .. job[4] .. ':executions', composite)
    end
    if job[1] == 'started' then
      if (tonumber(job[2] or '0') or 0) > 0 then
        redis.call('HINCRBY', key, 'retries_left', -1)
        redis.call('HINCRBY', key, 'number_of_retries', 1)
        redis.call('HSET', key, 'status', 'queued', 'started_at', '', 'worker_name', '')
        redis.call('LPUSH', KEYS[i], id)
        redis.call('RPUSH', KEYS[1], '')
        back = back + 1
      else
        redis.call('HSET', key, 'status', 'failed', 'ended_at', iso)
        redis.call('EXPIRE', key, ttl)
        redis.call('XADD', prefix .. ':results:' .. id, 'MAXLEN', 10, '*', 'type', 2,
          'worker_name', job[4] or '', 'exc_string', ARGV[4])
        redis.call('EXPIRE', prefix .. ':results:' .. id, ttl)
        redis.call('ZADD', prefix .. ':failed:' .. name, now + ttl, id)
        if job[3] and job[3] ~= '' then
          redis.call('PUBLISH', job[3], id .. ' ' .. ARGV[5])
        end
        failed = failed + 1
      end
    end
  end
end
return {back, failed}
