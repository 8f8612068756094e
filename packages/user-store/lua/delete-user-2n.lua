--[[
Deletes the records of one user under n bundles, and their unreadable records, unless the fence has ended.

KEYS[2i - 1]  the user's record under the i-th bundle
KEYS[2i]      the user's unreadable record under the i-th bundle

ARGV[1]  the end of the fence: last Unix ms, by Redis's own clock, at which the call is applied; 0 means no fence
ARGV[2]  1 keeps the records and deletes the unreadable ones only; 0 deletes both

Returns nil if the fence has ended; nothing is deleted then. Otherwise returns, for each key, 1 if it existed, else 0.
]]
local valid_until_ms, keeps_records = tonumber(ARGV[1]), ARGV[2] == '1'
if valid_until_ms ~= 0 then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > valid_until_ms then return false end
end

local existed = {}
for i, key in ipairs(KEYS) do
  local keeps = keeps_records and i % 2 == 1
  existed[i] = redis.call(keeps and 'EXISTS' or 'UNLINK', key)
end
return existed
