--[[
Gives leases back, so that others take them at their next heartbeat.

KEYS[1]  sorted set of members
KEYS[2]  hash of leases by partition

ARGV[1]    member
ARGV[2]    1 where the member leaves, 0 where it stays
ARGV[3..]  partitions to give back

Returns how many leases were the member's
]]
local released = 0
for i = 3, #ARGV do
  local lease = redis.call('HGET', KEYS[2], ARGV[i])
  if lease and string.match(lease, '^(%S+) ') == ARGV[1] then
    redis.call('HDEL', KEYS[2], ARGV[i])
    released = released + 1
  end
end
if ARGV[2] == '1' then redis.call('ZREM', KEYS[1], ARGV[1]) end
return released
