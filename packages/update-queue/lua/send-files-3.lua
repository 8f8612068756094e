--[[
Appends rows of an encoding's files to those that wait in a partition, once. The first call names the files; rows of
other files are refused.

KEYS[1]  hash of the encodings that are being warmed in the partition
KEYS[2]  files of the encoding that wait in the partition, a stream
KEYS[3]  hash of claims by encoding

ARGV[1]  encoding
ARGV[2]  rows of the files before those of this call, of all partitions
ARGV[3]  rows of the files up to the end of this call
ARGV[4]  most rows that may wait
ARGV[5]  1 if no further row follows
ARGV[6]  digest of the files
ARGV[7]  token of the claim
ARGV[8..]  user id, event id, rest of the interaction as JSON, of each row of the partition

Returns nil if somebody else has had the claim since. Otherwise returns a code and a number. Nothing is changed unless the
code is 1.
- { 1, rows sent }
- { 0, rows sent } if the call was made before, or rows before these are missing
- { -1, rows that wait } if too many wait
- { -2, 0 } if the encoding takes no files in its phase
- { -3, 0 } if the encoding takes other files
]]
-- include claim

local encoding = ARGV[1]
if not holds_claim(KEYS[3], encoding, ARGV[7]) then return false end
local files = redis.call('HGET', KEYS[1], encoding .. ':digest')
if files and files ~= ARGV[6] then return { -3, 0 } end
local sent = tonumber(redis.call('HGET', KEYS[1], encoding .. ':sent') or 0)
if sent ~= tonumber(ARGV[2]) or redis.call('HEXISTS', KEYS[1], encoding .. ':ended') == 1 then return { 0, sent } end
if redis.call('HGET', KEYS[1], encoding .. ':phase') ~= 'files' then return { -2, 0 } end
local waiting = redis.call('XLEN', KEYS[2])
if #ARGV > 7 and waiting + (#ARGV - 7) / 3 > tonumber(ARGV[4]) then return { -1, waiting } end

for i = 8, #ARGV, 3 do
  redis.call('XADD', KEYS[2], '*', 'user', ARGV[i], 'event', ARGV[i + 1], 'rest', ARGV[i + 2])
end
redis.call('HSET', KEYS[1], encoding .. ':sent', ARGV[3], encoding .. ':digest', ARGV[6])
if ARGV[5] == '1' then redis.call('HSET', KEYS[1], encoding .. ':ended', 1) end
return { 1, tonumber(ARGV[3]) }
