-- Remove what stands under our names and is of no type of ours; from the sets of workers, members that
-- name none; from lists and registries that are gone through, members that are no jobs.
-- KEYS: keys
-- ARGV: key prefix, then what each key must be: a type; or `workers`, a set of them; or `ids`, a list
--   of job ids; or `jobs`, a registry of jobs; or `executions`, one of jobs and their executions
-- Returns how many malformed entries were removed.
local prefix = ARGV[1]
local types = {workers = 'set', ids = 'list', jobs = 'zset', executions = 'zset'}
local most = 1000

local function look(key, kind)
  if kind == 'workers' then
    for _, member in ipairs(redis.call('SRANDMEMBER', key, most)) do
      local named = #member <= 300 and string.find(member, '^' .. prefix .. ':worker:[%w._-]+$')
      local found = named and redis.call('TYPE', member).ok
      if found ~= 'hash' then
        redis.call('SREM', key, member)
        -- A worker that died leaves a name without a registration: that is no fault.
        if found ~= 'none' then malformed = malformed + 1 end
      end
    end
  elseif kind == 'ids' then
    for _, id in ipairs(redis.call('LRANGE', key, 0, most - 1)) do
      if not is_id(id) then malformed = malformed + redis.call('LREM', key, 0, id) end
    end
  elseif kind == 'jobs' or kind == 'executions' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, most - 1)) do
      local id = member
      if kind == 'executions' then id = string.match(member, '^([^:]*):[%w_-]+$') or '' end
      if not is_id(id) then malformed = malformed + redis.call('ZREM', key, member) end
    end
  end
end

for i, key in ipairs(KEYS) do
  local kind, found = ARGV[1 + i], redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= (types[kind] or kind) then
    redis.call('DEL', key)
    malformed = malformed + 1
  elseif found ~= 'none' then
    look(key, kind)
  end
end
return malformed
