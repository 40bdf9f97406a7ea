-- Take an image back: out of its queue, or, where a worker has begun it, marked, so that its outcome is
-- dropped (finish.lua) and it is not begun again (recover.lua). Needs no memory that a full Redis refuses:
-- what is written first frees some.
-- KEYS: job hash, image, bytes of all images that wait
-- ARGV: key prefix, job id, ISO time, seconds the record lives, prefix of reply channels, reply to who
--       waits for the job (empty: nobody is told), what the names of all queues begin with, prefix of the
--       rounds of a queue's clients
-- Returns {'queued' or 'started', where it was; 'canceled' before; 'ended', which is too late; or 'gone',
--   there is no such job; malformed entries that were removed}.
local prefix, id, iso, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local job = ours('HMGET', KEYS[1], 'status', 'damoscope_withdrawn', 'damoscope_reply',
  'damoscope_bytes', 'damoscope_client', 'damoscope_images', 'origin')
local status = job[1]
if status == 'canceled' or (status == 'started' and job[2]) then return {'canceled', malformed} end
if not status then
  redis.call('DEL', KEYS[2])
  return {'gone', malformed}
end
if status ~= 'queued' and status ~= 'started' then return {'ended', malformed} end

if status == 'queued' then
  local name = job[7] or ''
  local ours_too = string.sub(name, 1, #ARGV[7]) == ARGV[7] and #name <= 100 and not string.find(name, '[^%w._-]')
  if ours_too and ours('LREM', prefix .. ':queue:' .. name, 1, id) > 0 then
    fewer_wait(KEYS[3], count(job[4], 2 ^ 40))
    -- Its client has one turn more (in tiles, more): the next image takes the round that is free.
    local rounds = ARGV[8] .. name
    local last = ours('ZSCORE', rounds, job[5] or '')
    if last then ours('ZADD', rounds, 'XX', string.format('%.0f', last - math.max(1, count(job[6], 1000))), job[5]) end
  else
    name = nil
  end
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'status', 'canceled', 'ended_at', iso)
  redis.call('EXPIRE', KEYS[1], ttl)
  if name then
    -- As RQ does, which keeps them for ever; here they go with their records.
    local now = redis.call('TIME')[1]
    ours('ZREMRANGEBYSCORE', prefix .. ':canceled:' .. name, '-inf', now - ttl)
    ours('ZADD', prefix .. ':canceled:' .. name, now, id)
  end
else
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'damoscope_withdrawn', iso)
end
local channel = job[3] or ''
if ARGV[6] ~= '' and string.sub(channel, 1, #ARGV[5]) == ARGV[5] and #channel <= 100 then
  redis.call('PUBLISH', channel, id .. ' ' .. ARGV[6])
end
return {status, malformed}
