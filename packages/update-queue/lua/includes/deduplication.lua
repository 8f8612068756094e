-- Frees a job's deduplication id as its end does in BullMQ. An id with a TTL remembers the job for this time, also
-- after the job has gone. After its time another job may have taken the id.
local function free_deduplication_id(prefix, id, deduplication_id)
  if not deduplication_id then return end
  local key = prefix .. 'de:' .. deduplication_id
  if redis.call('GET', key) == id and redis.call('PTTL', key) < 0 then redis.call('DEL', key) end
end
