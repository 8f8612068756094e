--[[
Begins to warm an encoding in all partitions, unless it is being warmed, or its warming has finished.

KEYS[1]  hash of what is being warmed, by encoding
KEYS[2]  hash of claims by encoding
KEYS[3]  hash of finished warmings by encoding

ARGV[1]  key prefix of the warming
ARGV[2]  number of partitions
ARGV[3]  encoding
ARGV[4]  token of the claim
ARGV[5]  source: files or log
ARGV[6]  description of the warming as JSON
ARGV[7]  most encodings at once
ARGV[8]  1 begins again if its warming has finished

Returns nil if somebody else has had the claim since; nothing is changed then. Otherwise returns 1; 0 if the encoding is
being warmed; -1 if too many others are; -2 if its warming has finished
]]
-- include claim

local encoding = ARGV[3]
if not holds_claim(KEYS[2], encoding, ARGV[4]) then return false end
if redis.call('HEXISTS', KEYS[1], encoding) == 1 then return 0 end
if ARGV[8] ~= '1' and redis.call('HEXISTS', KEYS[3], encoding) == 1 then return -2 end
if redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], 'version') >= tonumber(ARGV[7]) then return -1 end

for partition = 0, tonumber(ARGV[2]) - 1 do
  local state_key = ARGV[1] .. partition
  for _, name in ipairs({ 'cursor', 'sent', 'ended', 'digest', 'applied' }) do
    redis.call('HDEL', state_key, encoding .. ':' .. name)
  end
  redis.call('HSET', state_key, encoding .. ':phase', 'begun', encoding .. ':source', ARGV[5])
  redis.call('UNLINK', state_key .. ':files:' .. encoding, state_key .. ':marks:' .. encoding)
end
redis.call('HDEL', KEYS[3], encoding)
redis.call('HSET', KEYS[1], encoding, ARGV[6])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
