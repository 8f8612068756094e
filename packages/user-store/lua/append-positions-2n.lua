--[[
Appends rows to the records of n users in one call, unless the fence has ended. For each user it skips known events,
appends, trims and sets the TTL. Each user's append is atomic. docs/wire-format.md draws the record's layout.

KEYS[2i - 1]  record of the i-th user
KEYS[2i]      key that receives the user's record if it is unreadable

ARGV[1]  encoding id, 8 bytes
ARGV[2]  bytes a row
ARGV[3]  longest history, positions
ARGV[4]  events that the ring remembers
ARGV[5]  TTL of a record, s
ARGV[6]  TTL of an unreadable record, s
ARGV[7]  the end of the fence: last Unix ms, by Redis's own clock, at which the call is applied; 0 means no fence
ARGV[8]  most entries of a ring, tombstones of deletions since the last append included
ARGV[3i + 6]  Unix ms of the i-th user's newest interaction
ARGV[3i + 7]  event hashes, 6 bytes a row
ARGV[3i + 8]  rows, oldest first

Returns nil if the fence has ended; nothing is appended then. Otherwise returns one entry a user, in order.
- { rows appended, rows skipped as duplicates, positions now, 1 if an unreadable record was moved to its other key,
  else 0 }
- { -1 } if the record is of another encoding. That record stays as it is; the other users' rows are appended all the
  same.
]]
local FIXED, HASH = 30, 6
local encoding, stride, max_positions, ring_limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local record_ttl_s, aside_ttl_s, valid_until_ms = ARGV[5], ARGV[6], tonumber(ARGV[7])
local longest_ring = tonumber(ARGV[8])

if valid_until_ms ~= 0 then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > valid_until_ms then return false end
end

local function append(key, aside_key, newest_ms, hashes, new_rows)
  local lifetime, last_event_ms, ring, rows = 0, 0, '', ''
  local unreadable = 0

  local record = redis.pcall('GET', key)
  if record then
    local readable = false
    -- GET answers a key of another type with an error, which is a table.
    if type(record) == 'string' and #record >= FIXED and string.sub(record, 1, 3) == 'CK\1' then
      if string.sub(record, 7, 14) ~= encoding then
        return { -1 }
      end
      local stride_low, ring_count, stride_high = string.byte(record, 4, 6)
      local positions = struct.unpack('<I4', record, 27)
      local rows_at = FIXED + ring_count * HASH
      if stride_low + 256 * stride_high == stride and ring_count <= longest_ring
          and #record == rows_at + positions * stride then
        readable = true
        lifetime, last_event_ms = struct.unpack('<I6I6', record, 15)
        ring = string.sub(record, FIXED + 1, rows_at)
        rows = string.sub(record, rows_at + 1)
      end
    end
    if not readable then
      redis.call('RENAME', key, aside_key)
      redis.call('EXPIRE', aside_key, aside_ttl_s)
      unreadable = 1
    end
  end

  -- The top bit of a hash's last byte marks an event whose row was deleted. Such an event still counts as seen.
  local seen = {}
  for at = 1, #ring, HASH do
    local last = string.byte(ring, at + HASH - 1)
    seen[string.sub(ring, at, at + HASH - 2) .. string.char(last % 128)] = true
  end

  local fresh_hashes, fresh_rows, applied, duplicates = {}, {}, 0, 0
  for i = 0, #hashes / HASH - 1 do
    local hash = string.sub(hashes, i * HASH + 1, (i + 1) * HASH)
    if seen[hash] then
      duplicates = duplicates + 1
    else
      seen[hash] = true
      applied = applied + 1
      fresh_hashes[applied] = hash
      fresh_rows[applied] = string.sub(new_rows, i * stride + 1, (i + 1) * stride)
    end
  end

  if applied == 0 then
    redis.call('EXPIRE', key, record_ttl_s)
    return { 0, duplicates, #rows / stride, unreadable }
  end

  ring = string.sub(ring .. table.concat(fresh_hashes), -ring_limit * HASH)
  rows = string.sub(rows .. table.concat(fresh_rows), -max_positions * stride)
  lifetime = lifetime + applied
  last_event_ms = math.max(last_event_ms, newest_ms)

  local positions = #rows / stride
  local header = 'CK\1' .. string.char(stride % 256, #ring / HASH, math.floor(stride / 256)) .. encoding
    .. struct.pack('<I6I6I4', lifetime, last_event_ms, positions)
  redis.call('SET', key, header .. ring .. rows, 'EX', record_ttl_s)
  return { applied, duplicates, positions, unreadable }
end

local outcomes = {}
for i = 1, #KEYS / 2 do
  local newest_ms, hashes, new_rows = tonumber(ARGV[3 * i + 6]), ARGV[3 * i + 7], ARGV[3 * i + 8]
  outcomes[i] = append(KEYS[2 * i - 1], KEYS[2 * i], newest_ms, hashes, new_rows)
end
return outcomes
