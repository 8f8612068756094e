--[[
Completes jobs: BullMQ's moveToFinished, unchanged, for many jobs in one call.

KEYS[1..14]  moveToFinished's; the script sets the 12th for each job
KEYS[15]     hash of leases by partition
KEYS[16]     hash of terms by partition

ARGV[1..9]  moveToFinished's; the script sets the 1st for each job
ARGV[10]    partition
ARGV[11]    member
ARGV[12]    term
ARGV[13..]  ids of the jobs

Returns nil if the member does not hold the partition in this term; nothing is completed then. Otherwise returns { id,
moveToFinished's error code } of every job that could not be completed. The others are completed all the same.

If a job's own options, counts or parent make BullMQ's script fail, the job is removed: its interactions are applied,
and it must not come again.
]]
local function move_to_finished(KEYS, ARGV)
  -- include moveToFinished
end
-- include lease
-- include deduplication
-- include end_job

if not holds_term(KEYS[15], KEYS[16], ARGV[10], ARGV[11], ARGV[12]) then return false end

local keys, argv, prefix = { unpack(KEYS, 1, 14) }, { unpack(ARGV, 1, 9) }, ARGV[7]
local failures = {}
for i = 13, #ARGV do
  argv[1], keys[12] = ARGV[i], prefix .. ARGV[i]
  local done, code = pcall(move_to_finished, keys, argv)
  if not done or WAITS_FOR_CHILDREN[code] then
    end_job(KEYS[2], prefix, ARGV[i])
    redis.call('DEL', keys[12])
  elseif code ~= 0 then
    failures[#failures + 1] = { ARGV[i], code }
  end
end
return failures
