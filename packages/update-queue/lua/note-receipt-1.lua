--[[
Notes a step of an erasure in its receipt, with the time by Redis's own clock. The first step creates the receipt. A
receipt that is done does not change any more. Nor does the receipt of another erasure, by its kind and its check byte.

The steps of a call are claim, before its job is queued, and open, after it. A claim alone lasts a minute.

KEYS[1]  receipt

ARGV[1]  TTL of the receipt, s
ARGV[2]  step: claim, open, try, aside or done
ARGV[3]  kind: delete or forget
ARGV[4]  check byte
ARGV[5]  with done: the report; with open: how often the job had been set aside as it was claimed

Returns { field, value, … } of the receipt after the step
]]
local key, ttl_s, step, kind, check = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local CLAIM_S = 60
local state, known_kind, known_check, asides = unpack(redis.call('HMGET', key, 'state', 'kind', 'check', 'asides'))
local is_own = not state or (known_kind == kind and known_check == check)

if is_own and state ~= 'done' and not (state and step == 'claim') then
  local time = redis.call('TIME')
  local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSETNX', key, 'kind', kind)
  redis.call('HSETNX', key, 'check', check)
  redis.call('HSETNX', key, 'requestedAtMs', now_ms)
  redis.call('HSETNX', key, 'state', 'pending')
  if step == 'try' then
    redis.call('HINCRBY', key, 'tries', 1)
    redis.call('HSET', key, 'state', 'pending')
  elseif step == 'open' and state == 'aside' and (asides or '0') == ARGV[5] then
    redis.call('HSET', key, 'state', 'pending') -- it was queued again, and not set aside since
  elseif step == 'aside' then
    redis.call('HSET', key, 'state', 'aside')
    redis.call('HINCRBY', key, 'asides', 1)
  elseif step == 'done' then
    redis.call('HSET', key, 'state', 'done', 'doneAtMs', now_ms, 'report', ARGV[5])
  end
  redis.call('EXPIRE', key, step == 'claim' and math.min(CLAIM_S, ttl_s) or ttl_s)
end
return redis.call('HGETALL', key)
