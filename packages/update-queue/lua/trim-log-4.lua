--[[
Drops the entries of a partition's event log beyond its age and its length.

KEYS[1]  event log, a stream
KEYS[2]  hash of the encodings that are being warmed in the partition
KEYS[3]  hash of leases by partition
KEYS[4]  hash of terms by partition

ARGV[1]  partition
ARGV[2]  member
ARGV[3]  term
ARGV[4]  token of the opening
ARGV[5]  how long an entry stays, ms by Redis's own clock; 0: as long as an encoding needs it
ARGV[6]  most entries

Returns nil if the term is over or the partition was opened again; nothing is changed then. Otherwise returns the
number of entries
]]
-- include lease
-- include warming
-- include event_log

if not holds_opening(KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return false end
return trim_log(KEYS[1], KEYS[2], tonumber(ARGV[5]), tonumber(ARGV[6]))
