--[[
Deletes the records of one user under n encodings, and their unreadable records, unless the fence has ended.

KEYS[2i - 1]  the user's record under the i-th encoding
KEYS[2i]      the user's unreadable record under the i-th encoding

ARGV[1]  the end of the fence: last Unix ms, by Redis's own clock, at which the call is applied; 0 means no fence
ARGV[2]  1 keeps the records and deletes the unreadable ones only; 0 deletes both

Returns nil if the fence has ended; nothing is deleted then. Otherwise returns, for each key, its positions, 0 if it
cannot be read, or -1 if it did not exist. docs/wire-format.md draws the record's layout.
]]
local FIXED, HASH = 30, 6
local valid_until_ms, keeps_records = tonumber(ARGV[1]), ARGV[2] == '1'
if valid_until_ms ~= 0 then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > valid_until_ms then return false end
end

local function positions_of(key)
  -- GET answers a key of another type with an error, which is a table.
  local record = redis.pcall('GET', key)
  if type(record) ~= 'string' or #record < FIXED or string.sub(record, 1, 3) ~= 'CK\1' then return 0 end
  local stride_low, ring_count, stride_high = string.byte(record, 4, 6)
  local positions = struct.unpack('<I4', record, 27)
  local bytes = FIXED + ring_count * HASH + positions * (stride_low + 256 * stride_high)
  return bytes == #record and positions or 0
end

local found = {}
for i, key in ipairs(KEYS) do
  local is_record = i % 2 == 1
  local positions = is_record and positions_of(key) or 0
  local existed = redis.call(is_record and keeps_records and 'EXISTS' or 'UNLINK', key)
  found[i] = existed == 1 and positions or -1
end
return found
