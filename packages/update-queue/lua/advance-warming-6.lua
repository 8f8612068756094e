--[[
Notes what was applied to the records of an encoding: a wave, or a phase.

KEYS[1]  hash of the encodings that are being warmed in the partition
KEYS[2]  event log, a stream
KEYS[3]  files of the encoding that wait in the partition, a stream
KEYS[4]  marks of the encoding in the partition
KEYS[5]  hash of leases by partition
KEYS[6]  hash of terms by partition

ARGV[1]  partition
ARGV[2]  member
ARGV[3]  term
ARGV[4]  token of the opening
ARGV[5]  encoding
ARGV[6]  phase in which the wave was read
ARGV[7]  step: wave or phase
ARGV[8]  with wave: id of its last entry
ARGV[9]  with wave: interactions that were applied
ARGV[10..]  with wave: users who have reached their cut

Without a row or an entry left, the step `phase` leads from files to log, if no further row follows, and from log to
live.

Returns nil if the term is over or the partition was opened again; nothing is changed then. Otherwise returns the phase
now; an empty text if the encoding is no longer being warmed. In another phase than that of the wave, nothing is
changed
]]
-- include lease
-- include warming

if not holds_opening(KEYS[5], KEYS[6], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return false end

local encoding, phase, step = ARGV[5], ARGV[6], ARGV[7]
local function field(name) return encoding .. ':' .. name end
local now = redis.call('HGET', KEYS[1], field('phase')) or ''
if now ~= phase then return now end

if step == 'wave' then
  for i = 10, #ARGV do redis.call('HSET', KEYS[4], user_mark(ARGV[i]), '*') end
  if phase == 'files' then
    local ms, number = string.match(ARGV[8], '^(%d+)-(%d+)$')
    redis.call('XTRIM', KEYS[3], 'MINID', ms .. '-' .. string.format('%.0f', number + 1))
  else
    redis.call('HSET', KEYS[1], field('cursor'), ARGV[8])
  end
  redis.call('HINCRBY', KEYS[1], field('applied'), ARGV[9])
elseif phase == 'files' then
  if redis.call('XLEN', KEYS[3]) > 0 or redis.call('HEXISTS', KEYS[1], field('ended')) == 0 then return phase end
  redis.call('UNLINK', KEYS[3])
  now = 'log'
  redis.call('HSET', KEYS[1], field('phase'), now)
else
  local after = '(' .. redis.call('HGET', KEYS[1], field('cursor'))
  if #redis.call('XRANGE', KEYS[2], after, '+', 'COUNT', 1) > 0 then return phase end
  redis.call('UNLINK', KEYS[4])
  now = 'live'
  redis.call('HSET', KEYS[1], field('phase'), now)
  redis.call('HDEL', KEYS[1], field('cursor'))
end
return now
