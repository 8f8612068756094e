--[[
One heartbeat of an updater: announces the member, renews its leases, and takes free partitions up to its fair share.
A partition that the member did not hold without a break begins a new term.

KEYS[1]  sorted set of members by the Unix ms at which they count as gone
KEYS[2]  hash of leases by partition
KEYS[3]  hash of terms by partition

ARGV[1]  member
ARGV[2]  how long the leases last, ms
ARGV[3]  number of partitions

If the clock goes back, as it may at a failover to another server, leases and members of the time before would last as
much longer. So nothing lasts longer from now than a new lease does.

Returns { fair share, Unix ms at which the leases end, partition, its term, … } with every partition that the member
holds now. The member may hold more partitions than its share.
]]
-- include lease

local now_ms = redis_now_ms()
local member, ttl_ms, partitions = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local ends_ms = now_ms + ttl_ms

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ends_ms, '+inf')) do
  redis.call('ZADD', KEYS[1], ends_ms, name)
end
redis.call('ZADD', KEYS[1], ends_ms, member)

-- If the partitions do not divide evenly, the first members by name take one more.
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(members)
local share = math.floor(partitions / #members)
for rank, name in ipairs(members) do
  if name == member and rank <= partitions % #members then share = share + 1 end
end

local function lease_to(holder, partition)
  redis.call('HSET', KEYS[2], partition, holder .. ' ' .. string.format('%.0f', ends_ms))
end

local held, free = {}, {}
for partition = 0, partitions - 1 do
  local holder, lease_ends_ms = lease_of(KEYS[2], partition)
  if lease_ends_ms <= now_ms then
    free[#free + 1] = partition
  elseif holder == member then
    held[#held + 1] = partition
  elseif lease_ends_ms > ends_ms then
    lease_to(holder, partition)
  end
end
for _, partition in ipairs(free) do
  if #held < share then
    redis.call('HINCRBY', KEYS[3], partition, 1)
    held[#held + 1] = partition
  end
end

local reply = { share, ends_ms }
for _, partition in ipairs(held) do
  lease_to(member, partition)
  local term = redis.call('HGET', KEYS[3], partition) or redis.call('HINCRBY', KEYS[3], partition, 1)
  reply[#reply + 1] = partition
  reply[#reply + 1] = tonumber(term)
end
return reply
