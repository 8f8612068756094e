--[[
Finds encodings that nobody has noted for a time, by Redis's own clock. Forgets one of them if it is still so.

KEYS[1]  sorted set of encoding ids, by the Unix ms at which each was noted last

ARGV[1]  the time, ms
ARGV[2]  id of the encoding to forget; empty forgets none

Returns the ids of these encodings, without the forgotten one
]]
local time = redis.call('TIME')
local latest_ms = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[1])
local noted_ms = redis.call('ZSCORE', KEYS[1], ARGV[2])
if noted_ms and tonumber(noted_ms) <= latest_ms then redis.call('ZREM', KEYS[1], ARGV[2]) end
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest_ms)
