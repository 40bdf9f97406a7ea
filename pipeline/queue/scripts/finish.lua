-- Store the outcome of one execution, unless the job was taken away from it meanwhile:
-- the first result of a job stands.
-- KEYS: started registry, registry of the outcome, job hash, results stream, worker hash, image
-- ARGV: key prefix, job id, execution id, worker name, 'finished' or 'failed', ISO time,
--       seconds the outcome lives, seconds of work, reply channel, reply,
--       then the fields and values of the RQ result
-- Returns {1 when stored, 0 when it came too late, 2 when its client had taken the image back; malformed entries that were removed}.
local prefix, id, execution, worker, status = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local iso, ttl = ARGV[6], ARGV[7]
local composite = id .. ':' .. execution
-- A Redis that is full refuses a script whose first write needs memory, and lets one go on whose first
-- write needs none: this one does not, and what it frees first is the image.
local held = ours('ZREM', KEYS[1], composite) == 1
if held and status == 'finished' then redis.call('DEL', KEYS[6]) end
-- A worker that was given up for dead registers anew; half a hash would look like one that did.
local registered = redis.call('EXISTS', KEYS[5]) == 1
if registered then ours('HSET', KEYS[5], 'state', 'idle') end
if not held then
  -- Asked again, because the answer to the first time was lost with the connection?
  local last = ours('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
  for i = 1, last and #last[2] or 0, 2 do
    if last[2][i] == 'execution_id' and last[2][i + 1] == execution then return {1, malformed} end
  end
  return {0, malformed}
end
redis.call('DEL', prefix .. ':execution:' .. composite)
ours('ZREM', prefix .. ':executions:' .. id, execution)
ours('SREM', prefix .. ':worker:' .. worker .. ':executions', composite)
if ours('HGET', KEYS[3], 'damoscope_withdrawn') then
  redis.call('DEL', KEYS[6])
  ours('HSET', KEYS[3], 'status', 'canceled', 'ended_at', iso)
  redis.call('EXPIRE', KEYS[3], ttl)
  ours('ZADD', prefix .. ':canceled:' .. string.sub(KEYS[1], #prefix + 6), redis.call('TIME')[1], id)
  return {2, malformed}
end
ours('HSET', KEYS[3], 'status', status, 'ended_at', iso, 'last_heartbeat', iso)
redis.call('EXPIRE', KEYS[3], ttl)
ours('XADD', KEYS[4], 'MAXLEN', 10, '*', unpack(ARGV, 11))
redis.call('EXPIRE', KEYS[4], ttl)
ours('ZADD', KEYS[2], redis.call('TIME')[1] + ttl, id)
if ARGV[9] ~= '' then redis.call('PUBLISH', ARGV[9], ARGV[10]) end
if registered then
  -- What is no number is not counted on; nobody waits for that.
  redis.pcall('HINCRBY', KEYS[5],
    status == 'finished' and 'successful_job_count' or 'failed_job_count', 1)
  redis.pcall('HINCRBYFLOAT', KEYS[5], 'total_working_time', ARGV[8])
end
return {1, malformed}
