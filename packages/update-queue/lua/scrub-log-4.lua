--[[
Deletes the entries of a user, or of one event of the user, from one page of a partition's event log, or of an encoding's
files that wait. A row of the files that is the user's cut leaves its place as the cut.

KEYS[1]  event log or files, a stream
KEYS[2]  hash of leases by partition
KEYS[3]  hash of terms by partition
KEYS[4]  marks of the encoding of the files; a key that does not exist for the event log

ARGV[1]  partition
ARGV[2]  member
ARGV[3]  term
ARGV[4]  token of the opening
ARGV[5]  user id
ARGV[6]  event id; empty for all events of the user
ARGV[7]  id of the entry before the page; 0 begins
ARGV[8]  entries of a page

Returns nil if the term is over or the partition was opened again; nothing is changed then. Otherwise returns the id of
the page's last entry, or an empty text after the last page
]]
-- include lease
-- include warming

if not holds_opening(KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return false end

local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[7], '+', 'COUNT', ARGV[8])
for _, entry in ipairs(entries) do
  local fields = entry[2]
  local user, event = fields[2], fields[4]
  if user == ARGV[5] and (ARGV[6] == '' or event == ARGV[6]) then
    redis.call('XDEL', KEYS[1], entry[1])
    if redis.call('HGET', KEYS[4], user_mark(user)) == event_mark(user, event) then
      redis.call('HSET', KEYS[4], user_mark(user), '>' .. entry[1])
    end
  end
end
if #entries < tonumber(ARGV[8]) then return '' end
return entries[#entries][1]
