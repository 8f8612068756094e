--[[
Finds the jobs whose data may mention a text. If an encoder may write the text with escapes, jobs whose data have a
backslash are found as well.

KEYS[i]  i-th job

ARGV[1]  text
ARGV[2]  1 if encoders may escape a part of the text, else 0

Returns { i, … }: the numbers of the jobs found, from 1
]]
local text, escapes = ARGV[1], ARGV[2] == '1'
local found = {}
for i, job_key in ipairs(KEYS) do
  local data = redis.pcall('HGET', job_key, 'data')
  if type(data) == 'string' and (string.find(data, text, 1, true) or escapes and string.find(data, '\\', 1, true)) then
    found[#found + 1] = i
  end
end
return found
