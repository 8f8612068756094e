--[[
Adds a job: BullMQ's addStandardJob, unchanged. A `record` job with an id of its own is added once within a minute, even
if it is done by then. A try of a call may arrive after the caller has tried again and sent newer events. Jobs with a
deduplication id have a longer memory of their own. A job that is known is remembered for longer: it is a write, too,
which replicas can confirm.

KEYS[1..9]  addStandardJob's

ARGV[1..3]  addStandardJob's

Returns the job's id, also if the job is not added, or addStandardJob's error code
]]
local function add_standard_job(KEYS, ARGV)
  -- include addStandardJob
end
local REMEMBER_MS = 60000

local args = cmsgpack.unpack(ARGV[1])
local prefix, id, name, deduplication_key = args[1], args[2], args[3], args[9]
if name ~= 'record' or id == '' or deduplication_key then return add_standard_job(KEYS, ARGV) end

local memory = prefix .. 'added:' .. id
if redis.call('SET', memory, 1, 'PX', REMEMBER_MS, 'XX') then return id end
local answer = add_standard_job(KEYS, ARGV)
redis.call('SET', memory, 1, 'PX', REMEMBER_MS)
return answer
