--[[
Ends the warming of an encoding: cancels it, or forgets one that is live in all partitions. Then its records are written
as those of any other encoding.

KEYS[1]  hash of what is being warmed, by encoding

ARGV[1]  key prefix of the warming
ARGV[2]  number of partitions
ARGV[3]  encoding

Returns 1, or 0 if the encoding was not being warmed
]]
local encoding = ARGV[3]
for partition = 0, tonumber(ARGV[2]) - 1 do
  local state_key = ARGV[1] .. partition
  for _, name in ipairs({ 'phase', 'source', 'cursor', 'until', 'waves', 'sent', 'ended', 'digest', 'applied' }) do
    redis.call('HDEL', state_key, encoding .. ':' .. name)
  end
  redis.call('UNLINK', state_key .. ':files:' .. encoding, state_key .. ':marks:' .. encoding)
end
redis.call('HINCRBY', KEYS[1], 'version', 1)
return redis.call('HDEL', KEYS[1], encoding)
