--[[
Deletes the entries of a user, or of one event of the user, from one page of a partition's event log.

KEYS[1]  event log, a stream
KEYS[2]  hash of leases by partition
KEYS[3]  hash of terms by partition

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

if not holds_opening(KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return false end

local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[7], '+', 'COUNT', ARGV[8])
for _, entry in ipairs(entries) do
  local fields = entry[2]
  if fields[2] == ARGV[5] and (ARGV[6] == '' or fields[4] == ARGV[6]) then redis.call('XDEL', KEYS[1], entry[1]) end
end
if #entries < tonumber(ARGV[8]) then return '' end
return entries[#entries][1]
