-- Store a job and put it at the end of its queue, unless the queues are full.
-- KEYS: job hash, queue, doorbell, set of queues, then every queue that counts as depth
-- ARGV: most jobs waiting, seconds the job hash lives, job id, seconds until its deadline,
--       then the hash's fields and values
-- Returns {number of jobs now waiting, or -1 when full; this moment in microseconds; malformed
--   entries that were removed}.
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
local depth = 0
for i = 5, #KEYS do depth = depth + ours('LLEN', KEYS[i]) end
if depth >= tonumber(ARGV[1]) then return {-1, now, malformed} end
ours('HSET', KEYS[1], 'damoscope_enqueued', string.format('%.0f', now),
  'damoscope_deadline', string.format('%.0f', now + ARGV[4] * 1e6), unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[2])
ours('SADD', KEYS[4], KEYS[2])
redis.call('RPUSH', KEYS[2], ARGV[3])
ours('RPUSH', KEYS[3], '')
redis.call('LTRIM', KEYS[3], -tonumber(ARGV[1]), -1)
return {depth + 1, now, malformed}
