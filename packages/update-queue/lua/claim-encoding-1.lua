--[[
Takes, renews or gives back the claim on an encoding.

KEYS[1]  hash of claims by encoding

ARGV[1]  step: take, renew or release
ARGV[2]  encoding
ARGV[3]  token of the claim
ARGV[4]  how long the claim lasts, ms
ARGV[5]  with take: who takes it, for people

If the clock goes back, as it may at a failover to another server, a claim of the time before lasts no longer from now
than a new one.

Returns { 1, Unix ms at which the claim ends } if the caller has it now; with release { 1, 0 }. Otherwise returns { 0,
Unix ms at which it ends, holder }, with 0 and an empty text if nobody has it
]]
-- include lease
-- include claim

local step, encoding, token = ARGV[1], ARGV[2], ARGV[3]
local now_ms, ttl_ms = redis_now_ms(), tonumber(ARGV[4])
local held_by, ends_ms, holder = claim_of(KEYS[1], encoding)

local function keep(until_ms, by)
  redis.call('HSET', KEYS[1], encoding, held_by .. ' ' .. string.format('%.0f', until_ms) .. ' ' .. by)
end

if held_by == token then
  if step == 'release' then
    redis.call('HDEL', KEYS[1], encoding)
    return { 1, 0 }
  end
  keep(now_ms + ttl_ms, holder)
  return { 1, now_ms + ttl_ms }
end
if held_by and ends_ms > now_ms + ttl_ms then
  ends_ms = now_ms + ttl_ms
  keep(ends_ms, holder)
end
if step ~= 'take' or (held_by and ends_ms > now_ms) then return { 0, ends_ms or 0, holder or '' } end
held_by = token
keep(now_ms + ttl_ms, ARGV[5])
return { 1, now_ms + ttl_ms }
