--[[
Keeps a number with a job: BullMQ's updateProgress, unchanged.

KEYS[1..3]  updateProgress's
KEYS[4]     hash of leases by partition
KEYS[5]     hash of terms by partition

ARGV[1]  job id
ARGV[2]  progress
ARGV[3]  partition
ARGV[4]  member
ARGV[5]  term
ARGV[6]  token of the opening

Returns nil if the term is over or the partition was opened again; nothing is changed then. Otherwise returns
updateProgress's code: 0, or -1 if the job is gone
]]
local function update_progress(KEYS, ARGV)
  -- include updateProgress
end
-- include lease

if not holds_opening(KEYS[4], KEYS[5], ARGV[3], ARGV[4], ARGV[5], ARGV[6]) then return false end
return update_progress(KEYS, ARGV)
