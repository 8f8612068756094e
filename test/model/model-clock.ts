/** Keys of the model's clocks in Redis, each with a Unix time in ms. */
export const CLOCKS = { queue: 'clock of the queue', records: 'clock of the records' } as const;

/** Returns a script that asks a clock of the model for the time, not the server's. */
export function withModelClock(lua: string, clock: keyof typeof CLOCKS): string {
  return `local server = redis
local redis = setmetatable({ call = function(name, ...)
  if name ~= 'TIME' then return server.call(name, ...) end
  local now_ms = tonumber(server.call('GET', '${CLOCKS[clock]}'))
  return { math.floor(now_ms / 1000), now_ms % 1000 * 1000 }
end }, { __index = server })
${lua}`;
}
