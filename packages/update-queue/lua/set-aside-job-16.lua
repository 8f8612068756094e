--[[
Sets a job aside: BullMQ's moveToFinished, unchanged, makes it a failed job, which then gets another id. Its own id is
free again. Its deduplication id lasts for another minute at most; then the same events can be queued again. Until then
a late try of the call has no effect, even if the user is deleted meanwhile.

KEYS[1..14]  moveToFinished's
KEYS[15]     hash of leases by partition
KEYS[16]     hash of terms by partition

ARGV[1..9]  moveToFinished's
ARGV[10]    partition
ARGV[11]    member
ARGV[12]    term
ARGV[13]    the job's id among the failed jobs
ARGV[14..]  fields of the job to overwrite: name, value, …

Returns nil if the member does not hold the partition in this term; nothing is changed then. Otherwise returns
moveToFinished's code: 0, or an error code, with the job unchanged. An active id without a job behind it is removed; so
is a job whose own options say not to keep it. The script returns 0 for both. If a job's own counts or parent make
BullMQ's script fail, the job is set aside all the same, without them.
]]
local function move_to_finished(KEYS, ARGV)
  -- include moveToFinished
end
-- include lease
-- include deduplication
-- include end_job
local REMEMBER_MS = 60000

if not holds_term(KEYS[15], KEYS[16], ARGV[10], ARGV[11], ARGV[12]) then return false end

local id, prefix, aside_id = ARGV[1], ARGV[7], ARGV[13]
local active_key, failed_key, job_key = KEYS[2], KEYS[11], KEYS[12]

if redis.call('TYPE', job_key).ok ~= 'hash' then
  redis.call('LREM', active_key, 0, id)
  return 0
end

local deduplication_id = redis.call('HGET', job_key, 'deid')
local done, code = pcall(move_to_finished, KEYS, ARGV)
if not done then
  end_job(active_key, prefix, id)
  redis.call('HDEL', job_key, 'ats', 'atm', 'stc', 'parent', 'parentKey')
  redis.call('HSET', job_key, 'failedReason', ARGV[4], 'stacktrace', cjson.encode({ ARGV[4] }), 'finishedOn', ARGV[2])
  redis.call('ZADD', failed_key, ARGV[2], id)
elseif code ~= 0 then
  return code
end
local failed_at = redis.call('ZSCORE', failed_key, id)
if not failed_at then return 0 end

if #ARGV > 13 then redis.call('HSET', job_key, unpack(ARGV, 14)) end
redis.call('RENAME', job_key, prefix .. aside_id)
redis.call('ZREM', failed_key, id)
redis.call('ZADD', failed_key, failed_at, aside_id)
if deduplication_id then
  local deduplication_key = prefix .. 'de:' .. deduplication_id
  -- After its time another job may have taken the deduplication id.
  if redis.call('GET', deduplication_key) == id and redis.call('PTTL', deduplication_key) > REMEMBER_MS then
    redis.call('PEXPIRE', deduplication_key, REMEMBER_MS)
  end
end
return 0
