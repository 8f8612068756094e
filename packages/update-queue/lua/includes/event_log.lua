-- Drops entries that are older than the age, and not needed by an encoding that is being warmed. Then drops the oldest
-- beyond the length: an encoding that needs them is overrun. Without an age, and if nothing needs the log, drops all.
-- Returns the number of entries.
local function trim_log(log_key, warming_key, age_ms, most_entries)
  local needed = {}
  each_warming(warming_key, function(encoding, phase)
    if NEEDS_LOG[phase] then needed[encoding] = redis.call('HGET', warming_key, encoding .. ':cursor') end
  end)
  if age_ms == 0 and not next(needed) then
    redis.call('UNLINK', log_key)
    return 0
  end

  local oldest = string.format('%.0f', redis_now_ms() - age_ms)
  for _, cursor in pairs(needed) do
    if is_before(cursor, oldest) then oldest = cursor end
  end
  redis.call('XTRIM', log_key, 'MINID', oldest)

  local excess = redis.call('XLEN', log_key) - most_entries
  if excess > 0 then
    local dropped = redis.call('XRANGE', log_key, '-', '+', 'COUNT', excess)
    for encoding, cursor in pairs(needed) do
      if is_before(cursor, dropped[#dropped][1]) then redis.call('HSET', warming_key, encoding .. ':phase', 'overrun') end
    end
    redis.call('XTRIM', log_key, 'MAXLEN', most_entries)
  end
  return redis.call('XLEN', log_key)
end
