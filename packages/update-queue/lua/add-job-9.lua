--[[
Adds a job: BullMQ's addStandardJob, unchanged. A `record` job with an id of its own is added once within a minute, even
if it is done by then. A try of a call may arrive after the caller has tried again and sent newer events. Jobs with a
deduplication id have a longer memory of their own.

The memory is four hashes of ids, each of half a minute, the newest first. Their time to live says how old they are. If
the clock is set, one hash ends early: the other three still last for a minute. A job that is known goes into the newest
hash again. This is a write, which replicas can confirm.

KEYS[1..9]  addStandardJob's

ARGV[1..3]  addStandardJob's

Returns the job's id, also if the job is not added, or addStandardJob's error code
]]
local function add_standard_job(KEYS, ARGV)
  -- include addStandardJob
end
local MEMORIES = 4
local MEMORY_MS = 30000
local EXPIRE_MS = 3600000

local args = cmsgpack.unpack(ARGV[1])
local prefix, id, name, deduplication_key = args[1], args[2], args[3], args[9]
if name ~= 'record' or id == '' or deduplication_key then return add_standard_job(KEYS, ARGV) end

local function memory(n) return prefix .. 'added-' .. n end

-- Drops the oldest memory and makes the others older if the newest one has had its time, is missing, or is from the
-- future. Returns true if it did.
local function make_older()
  local age_ms = EXPIRE_MS - redis.call('PTTL', memory(1))
  if age_ms >= 0 and age_ms <= MEMORY_MS then return false end
  redis.call('UNLINK', memory(MEMORIES))
  for n = MEMORIES - 1, 1, -1 do
    if redis.call('EXISTS', memory(n)) == 1 then redis.call('RENAME', memory(n), memory(n + 1)) end
  end
  return true
end

-- The producer's ids end with a digest of 24 digits, kept as 12 bytes.
local digest = string.match(id, '^record%-(%x+)$')
local field = digest and #digest == 24
  and string.gsub(digest, '%x%x', function(byte) return string.char(tonumber(byte, 16)) end)
  or id

local known = false
for n = 1, MEMORIES do known = known or redis.call('HEXISTS', memory(n), field) == 1 end

local answer = known and id or add_standard_job(KEYS, ARGV)
local is_new = make_older()
redis.call('HSET', memory(1), field, '')
if is_new then redis.call('PEXPIRE', memory(1), EXPIRE_MS) end
return answer
