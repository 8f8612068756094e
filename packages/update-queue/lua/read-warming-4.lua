--[[
Reads the next interactions for an encoding: rows of its files that wait, then entries of the event log.

KEYS[1]  hash of the encodings that are being warmed in the partition
KEYS[2]  event log, a stream
KEYS[3]  files of the encoding that wait in the partition, a stream
KEYS[4]  marks of the encoding in the partition

ARGV[1]  encoding
ARGV[2]  most entries

Returns { phase, newest ms of the stream, entry, … }. An entry is { id, user id, event id, rest as JSON, what to do with
it }: keep, drop, or cut. After a cut, no row of the user's files is kept.
]]
-- include warming

local encoding = ARGV[1]
local phase = redis.call('HGET', KEYS[1], encoding .. ':phase')
if phase ~= 'files' and phase ~= 'log' then return { phase or '', 0 } end

local stream = phase == 'files' and KEYS[3] or KEYS[2]
local after = phase == 'files' and '-' or '(' .. redis.call('HGET', KEYS[1], encoding .. ':cursor')
local entries = redis.call('XRANGE', stream, after, '+', 'COUNT', ARGV[2])

local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
local newest_ms = newest[1] and tonumber(string.match(newest[1][1], '^%d+')) or 0
local reply = { phase, newest_ms }
for _, entry in ipairs(entries) do
  local user, event = entry[2][2], entry[2][4]
  local mark = phase == 'files' and redis.call('HGET', KEYS[4], user_mark(user))
  local advice = 'keep'
  local cut_id = mark and string.match(mark, '^>(.+)$')
  if mark == event_mark(user, event) or (cut_id and is_before(cut_id, entry[1])) then
    advice = 'cut' -- also if the event was forgotten: the log has those after it
  elseif mark == '*' or redis.call('HEXISTS', KEYS[4], event_mark(user, event)) == 1 then
    advice = 'drop'
  end
  reply[#reply + 1] = { entry[1], user, event, entry[2][6], advice }
end
return reply
