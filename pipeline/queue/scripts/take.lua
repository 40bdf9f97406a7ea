-- Move up to a batch of jobs from the queues to the started registry, in one atomic step:
-- a job is always either waiting or registered to a worker, whenever that worker dies.
-- KEYS: doorbell, worker hash, set of the workers of these queues, bytes of all images that wait, the
--       round of what was taken last from each queue, then the queues, highest priority first
-- ARGV: key prefix, worker name, ISO time, lease in seconds, most jobs, 1 when taking ahead,
--       most bytes of a job's fields together, seconds that an image takes this worker (empty: not
--       known), then one execution id for each job that may be taken
-- Returns this moment in microseconds, and a list of {job id, execution id, queue key, data, meta,
--   how often it was taken before, reply channel, RQ's enqueued_at, damoscope_enqueued,
--   damoscope_deadline, damoscope_clock, 1 when nothing else waits or is being worked on}, and how
--   many malformed entries were removed.
local prefix, worker, iso, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local ids, queues = 8, 6
local bytes_max, dropped, dropped_max = tonumber(ARGV[7]), 0, 256
-- Of the images that are taken.
local image_bytes = 0
local fields = {'data', 'meta', 'damoscope_taken', 'damoscope_reply', 'enqueued_at',
  'damoscope_enqueued', 'damoscope_deadline', 'damoscope_clock', 'damoscope_bytes', 'damoscope_round'}
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local depth = 0
for i = queues, #KEYS do depth = depth + ours('LLEN', KEYS[i]) end
local workers = math.max(1, ours('SCARD', KEYS[3]))
-- A fair share, so that one worker does not hold a batch while others have nothing.
local most = math.min(tonumber(ARGV[5]), math.ceil(depth / workers))
-- A worker that takes ahead of need leaves one job for each of the others.
if ARGV[6] == '1' then most = math.min(most, depth - (workers - 1)) end

local taken = {}
-- What is no job is removed; so much in one go that others are not kept waiting.
local function drop(queue)
  redis.call('LPOP', queue)
  dropped = dropped + 1
  return dropped < dropped_max
end
local function take(queue)
  local id = redis.call('LINDEX', queue, 0)
  if not id then return false end
  if not is_id(id) then
    malformed = malformed + 1
    return drop(queue)
  end
  local key = prefix .. ':job:' .. id
  local bytes = 0
  for _, field in ipairs(fields) do bytes = bytes + ours('HSTRLEN', key, field) end
  if bytes > bytes_max then
    malformed = malformed + 1
    redis.call('DEL', key)
    return drop(queue)
  end
  local job = redis.call('HMGET', key, unpack(fields))
  -- Counted here, because RQ's own recovery of lost jobs does not count.
  local before = count(job[3], 1000)
  -- An image over which a worker may have died runs alone, and is not taken while another
  -- batch is in hand: it costs no other image a try.
  if before > 0 and (#taken > 0 or ARGV[6] == '1') then most = #taken return false end
  if not job[1] then  -- the job outlived its time to live, or never was one
    malformed = malformed + redis.call('DEL', key)
    return drop(queue)
  end
  -- Changes nothing; but a Redis that is full refuses what needs memory only until a script has written.
  redis.call('LTRIM', queue, 0, -1)
  local execution = ARGV[ids + #taken + 1]
  local composite = id .. ':' .. execution
  local name = string.sub(queue, #prefix + 8)  -- after '<prefix>:queue:'
  redis.call('HSET', key, 'status', 'started', 'started_at', iso, 'last_heartbeat', iso,
    'worker_name', worker, 'damoscope_taken', before + 1)
  ours('ZADD', prefix .. ':wip:' .. name, now + lease, composite)
  ours('HSET', prefix .. ':execution:' .. composite, 'id', execution, 'job_id', id,
    'created_at', now, 'last_heartbeat', now, 'worker_name', worker)
  redis.call('EXPIRE', prefix .. ':execution:' .. composite, lease + 60)
  ours('ZADD', prefix .. ':executions:' .. id, now + lease + 60, execution)
  redis.call('EXPIRE', prefix .. ':executions:' .. id, lease + 60)
  ours('SADD', prefix .. ':worker:' .. worker .. ':executions', composite)
  -- Whose turn it is now (enqueue.lua); what came back is of an earlier round. Nobody waits for that.
  local round = before == 0 and count(job[10], 2 ^ 52) or 0
  if round > 0 then redis.pcall('HSET', KEYS[5], queue, string.format('%.0f', round)) end
  -- Last: where Redis refuses any of the above, the job still waits.
  redis.call('LPOP', queue)
  image_bytes = image_bytes + count(job[9], 2 ^ 40)
  taken[#taken + 1] = {id, execution, queue, job[1], job[2] or '', before, job[4] or '',
    job[5] or '', job[6] or '', job[7] or '', job[8] or '', 0}
  if before > 0 then most = #taken end
  return true
end

for i = queues, #KEYS do
  while #taken < most do
    if not take(KEYS[i]) then break end
  end
end
if #taken > 0 then
  redis.call('EXPIRE', prefix .. ':worker:' .. worker .. ':executions', lease + 60)
  -- A worker that was given up for dead registers anew; half a hash would look like one that did.
  if redis.call('EXISTS', KEYS[2]) == 1 then
    ours('HSET', KEYS[2], 'state', 'busy')
    if ARGV[8] ~= '' then ours('HSET', KEYS[2], 'damoscope_pace_s', ARGV[8]) end
  end
  fewer_wait(KEYS[4], image_bytes)
end
-- Doorbell rings left over by jobs that are gone would only wake workers for nothing.
local left = 0
for i = queues, #KEYS do left = left + redis.call('LLEN', KEYS[i]) end
if left == 0 then
  redis.call('DEL', KEYS[1])
elseif dropped > 0 then
  ours('RPUSH', KEYS[1], '')
end
-- A lone image may have all cores.
if #taken == 1 then
  local others = left - 1  -- the image itself is registered by now
  for i = queues, #KEYS do
    others = others + ours('ZCARD', prefix .. ':wip:' .. string.sub(KEYS[i], #prefix + 8))
  end
  taken[1][12] = others == 0 and 1 or 0
end
return {time[1] * 1e6 + time[2], taken, malformed}
