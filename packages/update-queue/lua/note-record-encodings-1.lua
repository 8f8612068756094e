--[[
Notes encodings that records are written for, with the time by Redis's own clock. Beyond the bound it forgets the
encodings that were noted least recently.

KEYS[1]  sorted set of encoding ids, by the Unix ms at which each was noted last

ARGV[1]    most encodings to keep
ARGV[2..]  encoding ids

Returns the number of encodings that were forgotten
]]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now_ms, ARGV[i]) end
return redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[1]))
