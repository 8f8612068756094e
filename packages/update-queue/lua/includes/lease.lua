--[[
Reads leases, and checks the term of a fence and the opening of its partition. A script of a consumer writes only if
the consumer still holds the partition in that term and has not opened it again. Redis may execute a command of a former
opening late, after its caller gave up.

The hash of leases keeps "<member> <Unix ms at which the lease ends>" by partition. The hash of terms counts how often
each partition was acquired; the count names the current term. In the same hash, the field "<partition>:opening" keeps
the token of the current opening. All times are Redis's own.
]]
local function redis_now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns the member that a partition is leased to and the Unix ms at which the lease ends; nil and 0 without a lease.
local function lease_of(leases_key, partition)
  local lease = redis.call('HGET', leases_key, partition)
  if not lease then return nil, 0 end
  local holder, ends_ms = string.match(lease, '^(%S+) (%d+)$')
  return holder, tonumber(ends_ms or 0)
end

-- True if the member holds the partition now, and has held it without a break since the term began.
local function holds_term(leases_key, terms_key, partition, member, term)
  local holder, ends_ms = lease_of(leases_key, partition)
  return holder == member and ends_ms > redis_now_ms() and redis.call('HGET', terms_key, partition) == term
end

-- Makes the opening of this token the current one.
local function begin_opening(terms_key, partition, token)
  redis.call('HSET', terms_key, partition .. ':opening', token)
end

-- True if the member holds the partition in this term, and the opening of this token is the current one.
local function holds_opening(leases_key, terms_key, partition, member, term, token)
  return holds_term(leases_key, terms_key, partition, member, term)
    and redis.call('HGET', terms_key, partition .. ':opening') == token
end
