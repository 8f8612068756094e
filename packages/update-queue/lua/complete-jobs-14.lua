--[[
Completes jobs: BullMQ's moveToFinished, as it is, for many jobs in one call.

KEYS[1..14]  moveToFinished's; the 12th is set for each job

ARGV[1..9]  moveToFinished's; the 1st is set for each job
ARGV[10..]  ids of the jobs

Returns { id, moveToFinished's error code or the text of its failure } of every job that could not be completed. The
others are completed all the same.
]]
local function move_to_finished(KEYS, ARGV)
  -- include moveToFinished
end

local keys, argv, prefix = { unpack(KEYS) }, { unpack(ARGV, 1, 9) }, ARGV[7]
local failures = {}
for i = 10, #ARGV do
  argv[1], keys[12] = ARGV[i], prefix .. ARGV[i]
  local done, code = pcall(move_to_finished, keys, argv)
  if not done then
    failures[#failures + 1] = { ARGV[i], type(code) == 'table' and code.err or code }
  elseif code ~= 0 then
    failures[#failures + 1] = { ARGV[i], code }
  end
end
return failures
