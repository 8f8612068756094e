--[[
Lets the updaters begin to apply an encoding's interactions, if all partitions are armed.

KEYS[1]  hash of what is being warmed, by encoding

ARGV[1]  key prefix of the warming
ARGV[2]  number of partitions
ARGV[3]  encoding

Returns the number of partitions that are not armed yet; nothing is changed unless it is 0
]]
local encoding, count = ARGV[3], tonumber(ARGV[2])
local missing = 0
for partition = 0, count - 1 do
  local phase = redis.call('HGET', ARGV[1] .. partition, encoding .. ':phase')
  if not phase or phase == 'begun' then missing = missing + 1 end
end
if missing > 0 then return missing end

for partition = 0, count - 1 do
  local state_key = ARGV[1] .. partition
  if redis.call('HGET', state_key, encoding .. ':phase') == 'armed' then
    redis.call('HSET', state_key, encoding .. ':phase', redis.call('HGET', state_key, encoding .. ':source'))
  end
end
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 0
