--[[
Replaces or deletes a record if it has not changed since the caller read it, unless the fence has ended. The TTL of a
replaced record stays.

KEYS[1]  the record

ARGV[1]  sha1 of the record as the caller read it, hexadecimal; "other" if the key is of another type
ARGV[2]  the new record; empty deletes the record
ARGV[3]  the end of the fence: last Unix ms, by Redis's own clock, at which the record is replaced or
         deleted; 0 means no fence

Returns nil if the fence has ended; nothing is changed then. Otherwise returns 1, or 0 if the record has changed or is
gone.
]]
local valid_until_ms = tonumber(ARGV[3])
if valid_until_ms ~= 0 then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > valid_until_ms then return false end
end

-- GET answers a key of another type with an error, which is a table.
local record = redis.pcall('GET', KEYS[1])
if not record then return 0 end
local sha1 = type(record) == 'string' and redis.sha1hex(record) or 'other'
if sha1 ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('UNLINK', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
end
return 1
