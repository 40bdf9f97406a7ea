-- Store a job and put it at the end of its queue, unless the queues are full, or a job is there already
-- that was enqueued with the same Idempotency-Key.
-- KEYS: job hash, queue, doorbell, set of queues, what the Idempotency-Key stands for, then every queue
--       that counts as depth
-- ARGV: most jobs waiting, seconds the job hash lives, job id, seconds until its deadline, what the
--       Idempotency-Key is to stand for (a job id, a space, a fingerprint; empty: there is none), seconds
--       for which it does, the job in whose place this one may come, then the hash's fields and values
-- Returns {number of jobs now waiting, -1 when full, or -2 when there is a job already; this moment in
--   microseconds; malformed entries that were removed; with -2 what the Idempotency-Key stands for}.
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
if ARGV[5] ~= '' then
  local first = ours('GET', KEYS[5])
  local job = first and string.match(first, '^([%w_-]+) %x+$')
  if first and not job then malformed = malformed + 1 end
  if job and job ~= ARGV[7] then return {-2, now, malformed, first} end
end
local depth = 0
for i = 6, #KEYS do depth = depth + ours('LLEN', KEYS[i]) end
if depth >= tonumber(ARGV[1]) then return {-1, now, malformed} end
ours('HSET', KEYS[1], 'damoscope_enqueued', string.format('%.0f', now),
  'damoscope_deadline', string.format('%.0f', now + ARGV[4] * 1e6), unpack(ARGV, 8))
redis.call('EXPIRE', KEYS[1], ARGV[2])
if ARGV[5] ~= '' then redis.call('SET', KEYS[5], ARGV[5], 'EX', ARGV[6]) end
ours('SADD', KEYS[4], KEYS[2])
redis.call('RPUSH', KEYS[2], ARGV[3])
ours('RPUSH', KEYS[3], '')
redis.call('LTRIM', KEYS[3], -tonumber(ARGV[1]), -1)
return {depth + 1, now, malformed}
