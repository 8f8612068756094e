--[[
Deletes n records, unless the fence has ended.

KEYS[i]  the i-th record

ARGV[1]  the end of the fence: last Unix ms, by Redis's own clock, at which the records are deleted; 0 means no fence

Returns nil if the fence has ended; nothing is deleted then. Otherwise returns the number of deleted records.
]]
local valid_until_ms = tonumber(ARGV[1])
if valid_until_ms ~= 0 then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > valid_until_ms then return false end
end
return redis.call('UNLINK', unpack(KEYS))
