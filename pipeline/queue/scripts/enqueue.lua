-- Store a job and put it at the end of its queue, unless the queues are full.
-- KEYS: job hash, queue, doorbell, set of queues, then every queue that counts as depth
-- ARGV: most jobs waiting, seconds the job hash lives, job id, then the hash's fields and values
-- Returns the number of jobs now waiting, or -1 when full.
local depth = 0
for i = 5, #KEYS do depth = depth + redis.call('LLEN', KEYS[i]) end
if depth >= tonumber(ARGV[1]) then return -1 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[4], KEYS[2])
redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('RPUSH', KEYS[3], '')
redis.call('LTRIM', KEYS[3], -tonumber(ARGV[1]), -1)
return depth + 1
