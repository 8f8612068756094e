--[[
Replaces the description of an encoding that is being warmed.

KEYS[1]  hash of what is being warmed, by encoding
KEYS[2]  hash of claims by encoding

ARGV[1]  encoding
ARGV[2]  token of the claim
ARGV[3]  description of the warming as JSON

Returns nil if somebody else has had the claim since; nothing is changed then. Otherwise returns 1, or 0 if the encoding
is not being warmed
]]
-- include claim

if not holds_claim(KEYS[2], ARGV[1], ARGV[2]) then return false end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
