--[[
Takes a user's part out of a job that is not active, unless the job has changed since the caller read it. What remembers
the job for a time stays: a late try of the call must not bring the part back.

KEYS[1]  list or sorted set that the job is in
KEYS[2]  hash of leases by partition
KEYS[3]  hash of terms by partition

ARGV[1]  key prefix of the job's queue
ARGV[2]  job id
ARGV[3]  sha1 of the job's data as the caller read them, hexadecimal
ARGV[4]  the data without the part; empty removes the whole job
ARGV[5]  partition that the caller holds
ARGV[6]  member
ARGV[7]  term
ARGV[8]  token of the opening

Returns nil if the term is over or the partition was opened again; nothing is changed then. Otherwise returns 1, or 0 if
the job has changed, or is no longer in this list or set.
]]
-- include lease
-- include deduplication

if not holds_opening(KEYS[2], KEYS[3], ARGV[5], ARGV[6], ARGV[7], ARGV[8]) then return false end

local container, prefix, id = KEYS[1], ARGV[1], ARGV[2]
local job_key = prefix .. id
local data = redis.call('HGET', job_key, 'data')
if not data or redis.sha1hex(data) ~= ARGV[3] then return 0 end

-- An active job has a lock; its consumer has read it already.
local in_list = redis.call('TYPE', container).ok == 'list'
if redis.call('EXISTS', job_key .. ':lock') == 1 then return 0 end
if not in_list and not redis.call('ZSCORE', container, id) then return 0 end

if ARGV[4] ~= '' then
  redis.call('HSET', job_key, 'data', ARGV[4])
  return 1
end
if redis.call(in_list and 'LREM' or 'ZREM', container, unpack(in_list and { 0, id } or { id })) == 0 then return 0 end
free_deduplication_id(prefix, id, redis.call('HGET', job_key, 'deid'))
for _, part in ipairs({ '', ':logs', ':dependencies', ':processed', ':failed', ':unsuccessful' }) do
  redis.call('DEL', job_key .. part)
end
return 1
