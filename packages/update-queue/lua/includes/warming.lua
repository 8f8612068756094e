--[[
Reads the states of the encodings that are being warmed in a partition. The hash of a partition keeps, for an encoding:

- "<encoding>:phase": begun, armed, files, log, live, overrun or cancelled
- "<encoding>:source": files or log
- "<encoding>:cursor": id of the last entry of the event log that needs no more work
- "<encoding>:sent", "<encoding>:ended": the rows of the files that were sent or left out, and 1 after the last one
- "<encoding>:digest": digest of the files whose rows were sent
- "<encoding>:applied": the interactions that were applied
]]
local NEEDS_LOG = { armed = true, files = true, log = true }

-- Calls visit(encoding, phase) for every encoding of the partition.
local function each_warming(warming_key, visit)
  local fields = redis.call('HGETALL', warming_key)
  for i = 1, #fields, 2 do
    local encoding = string.match(fields[i], '^(%x+):phase$')
    if encoding then visit(encoding, fields[i + 1]) end
  end
end

-- True if the entry id `a` comes before `b`.
local function is_before(a, b)
  local a_ms, a_number = string.match(a, '^(%d+)-?(%d*)$')
  local b_ms, b_number = string.match(b, '^(%d+)-?(%d*)$')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_number == '' and 0 or a_number) < tonumber(b_number == '' and 0 or b_number)
end

-- Names of a user, and of one event of the user, among the marks.
local function user_mark(user)
  return string.sub(redis.sha1hex(user), 1, 20)
end
local function event_mark(user, event)
  return string.sub(redis.sha1hex(#user .. ':' .. user .. event), 1, 20)
end
