--[[
Reads the claim on an encoding. One process at a time may change its warming, and delete its records. The hash of claims
keeps "<token> <Unix ms at which the claim ends> <holder>" by encoding. The token is unique to a claim. So a process
that was stopped for a while finds another token, or none, if anybody had the claim since.
]]

-- Returns the token of the claim, the Unix ms at which it ends, and who holds it; nil without a claim.
local function claim_of(claims_key, encoding)
  local claim = redis.call('HGET', claims_key, encoding)
  if not claim then return nil end
  local token, ends_ms, holder = string.match(claim, '^(%S+) (%d+) (.*)$')
  return token, tonumber(ends_ms), holder
end

-- True if nobody else has had the claim since it was taken. It may have ended: what it protects is unchanged then.
local function holds_claim(claims_key, encoding, token)
  return claim_of(claims_key, encoding) == token
end
