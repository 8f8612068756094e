--[[
Takes the next jobs of a queue: BullMQ's moveToActive, as it is, for many jobs in one call.

KEYS[1..11]  moveToActive's

ARGV[1]  moveToActive's key prefix
ARGV[2]  Unix ms now
ARGV[3]  lock token
ARGV[4]  how long the locks last, ms
ARGV[5]  jobs at the most

Returns { { id, { field, value, … } } of every job taken, in order, then the text of the last failure, '' without one }.
A job that fails is left among the active ones; the others are taken all the same.
]]
local function move_to_active(KEYS, ARGV)
  -- include moveToActive
end

local keys = { unpack(KEYS) }
local argv = { ARGV[1], ARGV[2], cmsgpack.pack({ token = ARGV[3], lockDuration = tonumber(ARGV[4]) }) }
local jobs, failure = {}, ''
for _ = 1, tonumber(ARGV[5]) do
  local done, job = pcall(move_to_active, keys, argv)
  if not done then
    failure = type(job) == 'table' and job.err or job
  elseif type(job[1]) == 'table' then
    jobs[#jobs + 1] = { job[2], job[1] }
  else
    break
  end
end
return { jobs, failure }
