-- Comes before each of the other scripts: commands on keys of ours, whatever else stands there.

-- How much was found under our names that is none of ours.
local malformed = 0

-- A command on a key. A value of another type was not put there by us and can be read by nobody: it
-- is deleted, so that it costs no image anything.
local function ours(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then
    redis.call('DEL', key)
    malformed = malformed + 1
  end
  return redis.call(command, key, ...)
end

-- A whole number from 0 to `most` that a field holds; 0 where it holds anything else.
local function count(text, most)
  local number = tonumber(text or '')
  if not number or not (number >= 0 and number <= most) then return 0 end
  return math.floor(number)
end

-- So many bytes of images wait no longer. Where the key holds no number, or is not there, they are
-- counted anew by who comes next; nobody waits for that.
local function fewer_wait(key, bytes)
  if redis.pcall('EXISTS', key) == 1 then redis.pcall('DECRBY', key, string.format('%.0f', bytes)) end
end

-- RQ's own rule for the ids of jobs.
local function is_id(text)
  return #text <= 64 and string.find(text, '^[%w_-]+$') ~= nil
end
