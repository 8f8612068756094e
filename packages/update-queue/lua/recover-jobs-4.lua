--[[
Begins an opening of a partition: every write of a former opening is refused from now on. Puts the active jobs of the
queue back to the front of its waiting jobs, in order, and unlocks them: a former consumer took them and did not settle
them. The script does not read the jobs, since one may be unreadable.

A former opening's call that Redis executes late ends the current opening. Its next take is refused, and its consumer
opens the partition once more.

KEYS[1]  list of active jobs
KEYS[2]  list of waiting jobs
KEYS[3]  hash of leases by partition
KEYS[4]  hash of terms by partition

ARGV[1]  key prefix of the queue
ARGV[2]  partition
ARGV[3]  member
ARGV[4]  term
ARGV[5]  token of the opening

Returns nil if the member does not hold the partition in this term; nothing is changed then. Otherwise returns the
number of jobs that were put back
]]
-- include lease

if not holds_term(KEYS[3], KEYS[4], ARGV[2], ARGV[3], ARGV[4]) then return false end
begin_opening(KEYS[4], ARGV[2], ARGV[5])

-- Newest first, each to the front: the oldest is taken next.
local ids = redis.call('LRANGE', KEYS[1], 0, -1)
for _, id in ipairs(ids) do
  redis.call('LREM', KEYS[1], 1, id)
  redis.call('RPUSH', KEYS[2], id)
  redis.call('DEL', ARGV[1] .. id .. ':lock')
end
return #ids
