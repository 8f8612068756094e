--[[
Appends interactions to a partition's event log, and drops the entries beyond its age and its length. Marks the first
new interaction of each user for every encoding whose files are not applied yet: what the files have from it on is in
the log, too. A repeated interaction may be older than others that are not in the log, so it is not marked.

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
ARGV[7]  key prefix of the marks of an encoding
ARGV[8..]  user id, event id, rest of the interaction as JSON, and 1 if it is new, of each interaction

Returns nil if the term is over or the partition was opened again; nothing is changed then. Otherwise returns the
number of entries
]]
-- include lease
-- include warming
-- include event_log

if not holds_opening(KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return false end

local marks = {}
each_warming(KEYS[2], function(encoding, phase)
  if phase == 'armed' or phase == 'files' then marks[#marks + 1] = ARGV[7] .. encoding end
end)
for i = 8, #ARGV, 4 do
  redis.call('XADD', KEYS[1], '*', 'user', ARGV[i], 'event', ARGV[i + 1], 'rest', ARGV[i + 2])
  if ARGV[i + 3] == '1' then
    for _, marks_key in ipairs(marks) do
      redis.call('HSETNX', marks_key, user_mark(ARGV[i]), event_mark(ARGV[i], ARGV[i + 1]))
    end
  end
end
return trim_log(KEYS[1], KEYS[2], tonumber(ARGV[5]), tonumber(ARGV[6]))
