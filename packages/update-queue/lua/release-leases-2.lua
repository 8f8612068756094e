--[[
Gives leases back, so that other members take the partitions at their next heartbeat. Redis may execute a release late,
after its caller gave up and renewed the leases. So a release names the end of the leases that it gives back: a lease
that was renewed since ends later, and stays.

KEYS[1]  sorted set of members
KEYS[2]  hash of leases by partition

ARGV[1]    member
ARGV[2]    1 if the member leaves, 0 if it stays
ARGV[3]    Unix ms at which the leases end that are given back; 0 gives back leases with any end
ARGV[4..]  partitions to give back

Returns the number of leases that were given back
]]
-- include lease

local named_end_ms = tonumber(ARGV[3])
local released = 0
for i = 4, #ARGV do
  local holder, ends_ms = lease_of(KEYS[2], ARGV[i])
  if holder == ARGV[1] and (named_end_ms == 0 or ends_ms == named_end_ms) then
    redis.call('HDEL', KEYS[2], ARGV[i])
    released = released + 1
  end
end
if ARGV[2] == '1' then redis.call('ZREM', KEYS[1], ARGV[1]) end
return released
