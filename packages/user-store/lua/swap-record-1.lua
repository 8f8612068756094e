--[[
Replaces a record if it has not changed since the caller read it, unless the fence has ended. Its TTL stays.

KEYS[1]  the record

ARGV[1]  sha1 of the record as the caller read it, hexadecimal
ARGV[2]  the new record
ARGV[3]  the end of the fence: last Unix ms, by Redis's own clock, at which the record is replaced; 0 means no fence

Returns nil if the fence has ended; nothing is replaced then. Otherwise returns 1, or 0 if the record has changed or is
gone.
]]
local valid_until_ms = tonumber(ARGV[3])
if valid_until_ms ~= 0 then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > valid_until_ms then return false end
end

local record = redis.call('GET', KEYS[1])
if not record or redis.sha1hex(record) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
