--[[
Returns which encodings are being warmed in a partition. Arms those that were begun: from now on the event log has their
interactions, and nothing else is written to their records. Call it with no batch in hand, and if no append can be late.

An encoding that is live goes back to the phase `log` if the caller cannot write its records: the event log keeps what
it lacks from now on.

KEYS[1]  hash of what is being warmed, by encoding
KEYS[2]  hash of the encodings that are being warmed in the partition
KEYS[3]  event log, a stream
KEYS[4]  hash of leases by partition
KEYS[5]  hash of terms by partition

ARGV[1]  partition
ARGV[2]  member
ARGV[3]  term
ARGV[4]  token of the opening
ARGV[5]  1 arms; 0 does not
ARGV[6..]  encodings whose records the caller can write

Returns nil if the term is over or the partition was opened again; nothing is changed then. Otherwise returns { version,
encoding, phase, … }
]]
-- include lease
-- include warming

if not holds_opening(KEYS[4], KEYS[5], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return false end

local writable = {}
for i = 6, #ARGV do writable[ARGV[i]] = true end
local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
local reply = { tonumber(redis.call('HGET', KEYS[1], 'version') or 0) }
each_warming(KEYS[2], function(encoding, phase)
  if phase == 'begun' and ARGV[5] == '1' then
    local from_files = redis.call('HGET', KEYS[2], encoding .. ':source') == 'files'
    local cursor = from_files and newest[1] and newest[1][1] or '0-0'
    phase = 'armed'
    redis.call('HSET', KEYS[2], encoding .. ':phase', phase, encoding .. ':cursor', cursor)
  elseif phase == 'live' and not writable[encoding] then
    phase = 'log'
    redis.call('HSET', KEYS[2], encoding .. ':phase', phase, encoding .. ':cursor', newest[1] and newest[1][1] or '0-0')
  end
  reply[#reply + 1] = encoding
  reply[#reply + 1] = phase
end)
return reply
