--[[
Marks an erased user, or one erased event, for every encoding that is being warmed in a partition. What waits for its
records or comes later from its files is then left out.

KEYS[1]  hash of the encodings that are being warmed in the partition
KEYS[2]  hash of leases by partition
KEYS[3]  hash of terms by partition

ARGV[1]  partition
ARGV[2]  member
ARGV[3]  term
ARGV[4]  token of the opening
ARGV[5]  key prefix of the marks of an encoding
ARGV[6]  user id
ARGV[7]  event id; empty for the whole user

Returns nil if the term is over or the partition was opened again; nothing is changed then. Otherwise returns the
encodings that are being warmed
]]
-- include lease
-- include warming

if not holds_opening(KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return false end

local encodings = {}
each_warming(KEYS[1], function(encoding, phase)
  if phase == 'live' then return end
  encodings[#encodings + 1] = encoding
  if ARGV[7] == '' then
    redis.call('HSET', ARGV[5] .. encoding, user_mark(ARGV[6]), '*')
  else
    redis.call('HSET', ARGV[5] .. encoding, event_mark(ARGV[6], ARGV[7]), 1)
  end
end)
return encodings
