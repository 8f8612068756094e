--[[
Lets the updaters begin to apply an encoding's interactions, if all partitions are armed.

KEYS[1]  hash of what is being warmed, by encoding
KEYS[2]  hash of claims by encoding

ARGV[1]  key prefix of the warming
ARGV[2]  number of partitions
ARGV[3]  encoding
ARGV[4]  token of the claim

Returns nil if somebody else has had the claim since. Otherwise returns the number of partitions that are not armed yet.
Nothing is changed unless it is 0
]]
-- include claim

local encoding, count = ARGV[3], tonumber(ARGV[2])
if not holds_claim(KEYS[2], encoding, ARGV[4]) then return false end
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
