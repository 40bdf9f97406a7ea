-- Store a job and give it its place in its queue, unless the queues are full, it would come too
-- late, or a job is there already that was enqueued with the same Idempotency-Key.
-- Clients take turns: in each round of a queue, each of them has one image. A client's next image is
-- of the round after its last one, and stands at the end of that round, so that whoever sends much
-- makes nobody wait but itself. Who has had nothing for a while begins in the round of what was taken
-- last (take.lua): before those who have had their image of it, and wait with their next.
-- (Start-time fair queueing: Goyal, Vin and Cheng, SIGCOMM 1996.)
-- KEYS: job hash, queue, doorbell, set of queues, bytes of all images that wait, rounds of the clients
--       of this queue, the round of what was taken last from each queue, what the Idempotency-Key
--       stands for, what is known of images in tiles; then the queues of the same workers, highest
--       priority first; then all others, whose images take memory as well
-- ARGV: most jobs waiting, most bytes waiting, most images ahead of this one (-1: any number), seconds
--       for which the bytes waiting are not counted anew, key prefix, seconds the job hash lives, job
--       id, seconds until its deadline, client, bytes of the image, what the Idempotency-Key is to stand for
--       (a job id, a space, a fingerprint; empty: there is none), seconds for which it does, the job in
--       whose place this one may come, how many images' work this one is (in tiles, more than one), how many
--       of the queues are of the same workers, then the hash's fields and values
-- Returns {'queued', 'full', 'bytes', 'share', 'late', or 'first' when there is a job already; images ahead of this one, in work or waiting;
--   how many of its client wait in this queue; this moment in microseconds; malformed entries that were
--   removed; with 'first' what the Idempotency-Key stands for}.
local queues, fields = 10, 16
local last_queue = queues + tonumber(ARGV[15]) - 1
local jobs_max, bytes_max, ahead_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local prefix, id, client, size = ARGV[5], ARGV[7], ARGV[9], tonumber(ARGV[10])
local images = tonumber(ARGV[14])
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
if ARGV[11] ~= '' then
  local first = ours('GET', KEYS[8])
  local job = first and string.match(first, '^([%w_-]+) %x+$')
  if first and not job then malformed = malformed + 1 end
  if job and job ~= ARGV[13] then return {'first', 0, 0, now, malformed, first} end
end

-- What was noted of images in tiles, by their ids; of very many, some.
local function tiled_jobs(key)
  local found, noted = {}, ours('HGETALL', key)
  for i = 1, math.min(#noted, 1000), 2 do
    local order, round, images = string.match(noted[i + 1], '^(%d+) (%d+) (%d+)$')
    found[noted[i]] = {order = count(order, 100), round = count(round, 2 ^ 52), images = count(images, 1000)}
  end
  return found
end

local function round_of(waiting)
  return count(ours('HGET', prefix .. ':job:' .. waiting, 'damoscope_round'), 2 ^ 52)
end

-- How many wait for these workers in all, in queues that go first, and in this one; how many are in
-- work, and of those, from this one.
local depth, first, own, work, own_work, order = 0, 0, 0, 0, 0, 0
for i = queues, last_queue do
  local waiting = ours('LLEN', KEYS[i])
  local begun = ours('ZCARD', prefix .. ':wip:' .. string.sub(KEYS[i], #prefix + 8))
  if KEYS[i] == KEYS[2] then
    own, own_work, first, order = waiting, begun, depth, i
  end
  depth = depth + waiting
  work = work + begun
end

-- The round that is now, that of the first image that waits, and that of this image. Nothing is removed
-- before the job is stored: a script that has written once is not refused by a Redis that is full.
local idle = own == 0 and own_work == 0  -- all begin anew
local front = own > 0 and math.max(1, round_of(ours('LINDEX', KEYS[2], 0))) or math.huge
local taken = idle and 0 or count(ours('HGET', KEYS[7], KEYS[2]), 2 ^ 52)
local current = taken > 0 and math.min(taken, front) or own > 0 and front or 1
local last = idle and 0 or tonumber(ours('ZSCORE', KEYS[6], client) or '') or 0
if own == 0 and last > current then last = 0 end  -- of images that others removed
local held = last >= front and last - front + 1 or 0
local round = math.max(current, last + 1)

-- Its place is after the last image of its round: the rounds are in order.
local place = own
if own > 0 and round_of(ours('LINDEX', KEYS[2], -1)) > round then
  local low, high = 0, own - 1  -- the first of a later round is among these
  while low < high do
    local middle = math.floor((low + high) / 2)
    if round_of(redis.call('LINDEX', KEYS[2], middle)) > round then
      high = middle
    else
      low = middle + 1
    end
  end
  place = low
end
local ahead = work + first + place
-- An image in tiles is as much work as many. Of those in work, as many tiles go first as there are images
-- ahead: others have their turn between them. Those that have ended count no longer.
local more, ended = 0, {}
for tiled, known in pairs(tiled_jobs(KEYS[9])) do
  local status = ours('HGET', prefix .. ':job:' .. tiled, 'status')
  if status == 'started' then
    more = more + math.min(known.images - 1, ahead)
  elseif status ~= 'queued' then
    ended[#ended + 1] = tiled
  elseif known.order < order or (known.order == order and known.round <= round) then
    more = more + known.images - 1
  end
end
ahead = ahead + more

-- Kept by who puts in and takes out, and counted anew every few seconds, so that what was removed by
-- others (RQ's tools, a time to live) counts no longer.
local bytes = tonumber(ours('GET', KEYS[5]) or '')
if not bytes then
  bytes = 0
  for i = queues, #KEYS do
    for _, waiting in ipairs(redis.call('LRANGE', KEYS[i], 0, 9999)) do
      local known = ours('HGET', prefix .. ':job:' .. waiting, 'damoscope_bytes')
      bytes = bytes + count(known, 2 ^ 40)
    end
  end
  redis.call('SET', KEYS[5], string.format('%.0f', bytes), 'EX', ARGV[4])
end

local function refused()
  if depth >= jobs_max then return 'full' end
  -- All that wait take the same memory. Where nobody waits for these workers one image may: others'
  -- images never keep theirs out.
  if depth > 0 and bytes + size > bytes_max then return 'bytes' end
  -- The last tenth is for who has less than an equal part.
  local filled = math.max((depth + 1) / jobs_max, (bytes + size) / bytes_max)
  local others = own == 0 and 0
    or ours('ZCOUNT', KEYS[6], string.format('%.0f', front), '+inf') - (held > 0 and 1 or 0)
  if filled > 0.9 and others > 0 and held >= own / (others + 1) then return 'share' end
  if ahead_max >= 0 and ahead > ahead_max then return 'late' end
end
local reason = refused()
if reason then return {reason, ahead, held, now, malformed} end

ours('HSET', KEYS[1], 'damoscope_enqueued', string.format('%.0f', now),
  'damoscope_deadline', string.format('%.0f', now + ARGV[8] * 1e6),
  'damoscope_round', string.format('%.0f', round), 'damoscope_bytes', ARGV[10],
  'damoscope_client', client,
  unpack(ARGV, fields))
redis.call('EXPIRE', KEYS[1], ARGV[6])
if #ended > 0 then redis.call('HDEL', KEYS[9], unpack(ended)) end
if images > 1 then
  ours('HSET', KEYS[1], 'damoscope_images', images)
  ours('HSET', KEYS[9], id, string.format('%d %.0f %d', order, round, images))
  redis.call('EXPIRE', KEYS[9], ARGV[6])
end
if ARGV[11] ~= '' then redis.call('SET', KEYS[8], ARGV[11], 'EX', ARGV[12]) end
ours('SADD', KEYS[4], KEYS[2])
if place == own then
  redis.call('RPUSH', KEYS[2], id)
else
  redis.call('LINSERT', KEYS[2], 'BEFORE', redis.call('LINDEX', KEYS[2], place), id)
end
-- Clients whose last image was of an earlier round begin with the others; where nothing is to be done,
-- all do.
if idle then
  redis.call('DEL', KEYS[6])
  redis.call('HDEL', KEYS[7], KEYS[2])
else
  local now_is = '(' .. string.format('%.0f', current)
  ours('ZREMRANGEBYSCORE', KEYS[6], '-inf', now_is)
  if own == 0 then ours('ZREMRANGEBYSCORE', KEYS[6], now_is, '+inf') end
end
-- In as many rounds as it is images' work its client has no other.
ours('ZADD', KEYS[6], string.format('%.0f', round + images - 1), client)
redis.call('EXPIRE', KEYS[6], ARGV[6])
redis.call('INCRBY', KEYS[5], ARGV[10])
ours('RPUSH', KEYS[3], '')
redis.call('LTRIM', KEYS[3], -jobs_max, -1)
return {'queued', ahead, held, now, malformed}
