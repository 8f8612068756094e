-- Drops entries that are older than the age, then the oldest ones beyond the length. Without an age drops all. Returns
-- the number of entries.
local function trim_log(log_key, age_ms, most_entries)
  if age_ms == 0 then
    redis.call('UNLINK', log_key)
    return 0
  end
  redis.call('XTRIM', log_key, 'MINID', string.format('%.0f', redis_now_ms() - age_ms))
  redis.call('XTRIM', log_key, 'MAXLEN', most_entries)
  return redis.call('XLEN', log_key)
end
