--[[
Replaces a record if it has not changed since the caller read it. Its TTL stays.

KEYS[1]  the record

ARGV[1]  sha1 of the record as the caller read it, hexadecimal
ARGV[2]  the new record

Returns 1, or 0 if the record has changed or is gone
]]
local record = redis.call('GET', KEYS[1])
if not record or redis.sha1hex(record) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
