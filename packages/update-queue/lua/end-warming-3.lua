--[[
Ends the warming of an encoding: cancels it, or finishes one that is live in all partitions. Then its records are written
as those of any other encoding. A finished warming is noted with its description, and a cancellation removes the note.

KEYS[1]  hash of what is being warmed, by encoding
KEYS[2]  hash of claims by encoding
KEYS[3]  hash of finished warmings by encoding

ARGV[1]  key prefix of the warming
ARGV[2]  number of partitions
ARGV[3]  encoding
ARGV[4]  token of the claim
ARGV[5]  1 ends it only if it is live in all partitions; 0 ends it in any phase

Returns nil if somebody else has had the claim since; nothing is changed then. Otherwise returns 1; 0 if the encoding was
not being warmed; -1 if it is not live everywhere, and nothing is changed
]]
-- include claim

local encoding, count = ARGV[3], tonumber(ARGV[2])
if not holds_claim(KEYS[2], encoding, ARGV[4]) then return false end
local description = redis.call('HGET', KEYS[1], encoding)
if ARGV[5] == '1' then
  for partition = 0, count - 1 do
    if redis.call('HGET', ARGV[1] .. partition, encoding .. ':phase') ~= 'live' then return -1 end
  end
end

for partition = 0, count - 1 do
  local state_key = ARGV[1] .. partition
  for _, name in ipairs({ 'phase', 'source', 'cursor', 'sent', 'ended', 'digest', 'applied' }) do
    redis.call('HDEL', state_key, encoding .. ':' .. name)
  end
  redis.call('UNLINK', state_key .. ':files:' .. encoding, state_key .. ':marks:' .. encoding)
end
if ARGV[5] == '0' then
  redis.call('HDEL', KEYS[3], encoding)
elseif description then
  redis.call('HSET', KEYS[3], encoding, redis.call('TIME')[1] .. ' ' .. description)
end
redis.call('HINCRBY', KEYS[1], 'version', 1)
return redis.call('HDEL', KEYS[1], encoding)
