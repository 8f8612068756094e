--[[
Takes the next jobs of a queue: BullMQ's moveToActive, unchanged, for many jobs in one call. An erasure is the last job
of a call: no job behind it may be active while it sweeps the queue.

KEYS[1..11]  moveToActive's
KEYS[12]     hash of leases by partition
KEYS[13]     hash of terms by partition

ARGV[1]  moveToActive's key prefix
ARGV[2]  Unix ms now
ARGV[3]  lock token: the token of the opening
ARGV[4]  how long the locks last, ms
ARGV[5]  most jobs to take
ARGV[6]  partition
ARGV[7]  member
ARGV[8]  term

Returns nil if the term is over or the partition was opened again; nothing is taken then. Otherwise returns { jobs, text
of the last failure }: { id, { field, value, … } } of every job taken, in order, and '' if none failed. A job that fails
stays active and is not returned; the others are taken all the same.
]]
local function move_to_active(KEYS, ARGV)
  -- include moveToActive
end
-- include lease

if not holds_opening(KEYS[12], KEYS[13], ARGV[6], ARGV[7], ARGV[8], ARGV[3]) then return false end

-- True if the name among { field, value, … } is the name of an erasure.
local function is_erasure(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'name' then return fields[i + 1] == 'delete' or fields[i + 1] == 'forget' end
  end
  return false
end

local argv = { ARGV[1], ARGV[2], cmsgpack.pack({ token = ARGV[3], lockDuration = tonumber(ARGV[4]) }) }
local jobs, failure = {}, ''
for _ = 1, tonumber(ARGV[5]) do
  local done, job = pcall(move_to_active, KEYS, argv)
  if not done then
    failure = type(job) == 'table' and job.err or job
  elseif type(job[1]) == 'table' then
    jobs[#jobs + 1] = { job[2], job[1] }
    if is_erasure(job[1]) then break end
  else
    break
  end
end
return { jobs, failure }
