-- moveToFinished's codes for a job that other jobs belong to. An interaction job needs none.
local WAITS_FOR_CHILDREN = { [-4] = true, [-9] = true }

-- Takes an active job out of the queue without BullMQ's script, which cannot use its fields. Its hash stays.
local function end_job(active_key, prefix, id)
  local job_key = prefix .. id
  redis.call('LREM', active_key, 0, id)
  redis.call('DEL', job_key .. ':lock')
  free_deduplication_id(prefix, id, redis.call('HGET', job_key, 'deid'))
end
