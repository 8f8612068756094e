--[[
Replaces a record where it is still the one that was read; its TTL stays.

KEYS[1]  the record

ARGV[1]  sha1 of the record as read, hexadecimal
ARGV[2]  the record to put in its place

Returns 1, or 0 where the record changed in between
]]
local record = redis.call('GET', KEYS[1])
if not record or redis.sha1hex(record) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
