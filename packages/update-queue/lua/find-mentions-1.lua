--[[
Looks for jobs whose data may mention a text. If an encoder may write the text with escapes, jobs whose data have a
backslash are found as well.

KEYS[1]  list or sorted set of job ids

ARGV[1]  key prefix of the queue
ARGV[2]  index of the first job to look at
ARGV[3]  number of jobs to look at
ARGV[4]  text
ARGV[5]  1 if encoders may escape a part of the text, else 0

Returns { number of jobs looked at, id, … } with the ids of the jobs found
]]
local key, prefix, from, text, escapes = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[5] == '1'
local kind = redis.call('TYPE', key).ok
if kind ~= 'list' and kind ~= 'zset' then return { 0 } end

local ids = redis.call(kind == 'list' and 'LRANGE' or 'ZRANGE', key, from, from + tonumber(ARGV[3]) - 1)
local found = { #ids }
for _, id in ipairs(ids) do
  local data = redis.pcall('HGET', prefix .. id, 'data')
  if type(data) == 'string' and (string.find(data, text, 1, true) or escapes and string.find(data, '\\', 1, true)) then
    found[#found + 1] = id
  end
end
return found
