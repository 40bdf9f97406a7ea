-- Make room among the pictures that are kept, and note one that comes. The oldest go first. Needs no
-- memory that a full Redis refuses as long as something goes.
-- KEYS: index, hash with the bytes of all
-- ARGV: prefix of the pictures' keys, bytes that all may take, then of one that comes: its name, which is
--       its trace and its job, its bytes, and the seconds it stays
-- Returns {its entry in the index where there is room for it, else ''; bytes of all; malformed entries that
--          were removed}.
local index, total, prefix, most = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local name, size = ARGV[3], tonumber(ARGV[4] or 0)
local now, step = tonumber(redis.call('TIME')[1]), 500

local function size_of(member)
  local named, bytes = string.match(member, '^(%x+:%x+):%d+:(%d+)$')
  return named, tonumber(bytes or 0)
end

local noted = ours('HGET', total, 'bytes') or ''
local bytes = count(noted, 2 ^ 45)
if ours('ZCARD', index) == 0 then
  bytes = 0
elseif bytes == 0 then  -- lost, or no number: counted anew
  for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local _, its = size_of(member)
    bytes = bytes + its
  end
end

local function drop(members)
  for _, member in ipairs(members) do
    local named, its = size_of(member)
    if named then redis.call('DEL', prefix .. named) else malformed = malformed + 1 end
    redis.call('ZREM', index, member)
    bytes = math.max(0, bytes - its)
  end
end

drop(redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, step))
local fits = size <= most
if not fits then size = 0 end
for _ = 1, step do
  if bytes + size <= most then break end
  local oldest = redis.call('ZRANGE', index, 0, 0)
  if #oldest == 0 then break end
  drop(oldest)
end
-- More has to go than one call may take: not yet.
fits = fits and name ~= nil and bytes + size <= most
local entry = ''
if fits then
  entry = string.format('%s:%.0f:%.0f', name, now, size)
  redis.call('ZADD', index, now + tonumber(ARGV[5]), entry)
  bytes = bytes + size
end
local said = string.format('%.0f', bytes)
if said ~= noted then redis.call('HSET', total, 'bytes', said) end
return {entry, bytes, malformed}
