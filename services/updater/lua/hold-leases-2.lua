--[[
One heartbeat of an updater: announces the member, renews its leases, and takes free partitions up to its fair share.
Time is Redis's own. A partition's lease is "<member> <Unix ms at which it ends>".

KEYS[1]  sorted set of members by the Unix ms at which they count as gone
KEYS[2]  hash of leases by partition

ARGV[1]  member
ARGV[2]  how long a heartbeat lasts, ms
ARGV[3]  partitions there are

Returns { fair share, partition, … }: the partitions that the member holds now, which may be more than its share
]]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local member, ttl_ms, partitions = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
redis.call('ZADD', KEYS[1], now_ms + ttl_ms, member)

-- The first members by name take what does not divide evenly.
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(members)
local share = math.floor(partitions / #members)
for rank, name in ipairs(members) do
  if name == member and rank <= partitions % #members then share = share + 1 end
end

local held, free = {}, {}
for partition = 0, partitions - 1 do
  local lease = redis.call('HGET', KEYS[2], partition)
  local holder, ends_ms = nil, 0
  if lease then
    holder, ends_ms = string.match(lease, '^(%S+) (%d+)$')
  end
  if holder == member and tonumber(ends_ms) > now_ms then
    held[#held + 1] = partition
  elseif not holder or tonumber(ends_ms) <= now_ms then
    free[#free + 1] = partition
  end
end
for _, partition in ipairs(free) do
  if #held < share then held[#held + 1] = partition end
end
for _, partition in ipairs(held) do
  redis.call('HSET', KEYS[2], partition, member .. ' ' .. string.format('%.0f', now_ms + ttl_ms))
end
return { share, unpack(held) }
