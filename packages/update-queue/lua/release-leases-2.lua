--[[
Gives leases back, so that other members take the partitions at their next heartbeat.

KEYS[1]  sorted set of members
KEYS[2]  hash of leases by partition

ARGV[1]    member
ARGV[2]    1 if the member leaves, 0 if it stays
ARGV[3..]  partitions to give back

Returns the number of leases that the member had among these partitions
]]
-- include lease

local released = 0
for i = 3, #ARGV do
  if lease_of(KEYS[2], ARGV[i]) == ARGV[1] then
    redis.call('HDEL', KEYS[2], ARGV[i])
    released = released + 1
  end
end
if ARGV[2] == '1' then redis.call('ZREM', KEYS[1], ARGV[1]) end
return released
