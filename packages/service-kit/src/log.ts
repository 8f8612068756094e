import { currentSpanIds } from '@collectivekv/tracing';
import { pino } from 'pino';
import { redacted } from './redact.js';

/** A logger. It has no `child`: the fields of a child logger would not be redacted. */
export type Logger = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>;

/** Most that waits if stderr takes nothing, as on a full disk. Further lines are dropped. */
const MAX_WAITING_BYTES = 1024 * 1024;

/**
 * Creates a logger that writes JSON lines to stderr, without secrets, user ids and user data. A line inside a span names
 * it: `trace_id`, `span_id`. It never throws: lines that stderr refuses are lost.
 */
export function createLogger(service: string, level: string): Logger {
  // Synchronous: lines that pino holds back are written at exit, and that never ends if stderr refuses them.
  const stderr = pino.destination({ dest: 2, sync: true, maxLength: MAX_WAITING_BYTES });
  stderr.on('error', () => undefined);
  return pino(
    {
      level,
      base: { service },
      mixin: currentSpanIds,
      formatters: { log: (fields) => redacted(fields) as Record<string, unknown> },
      serializers: { err: (error) => error }, // `redacted` has serialised it
    },
    stderr,
  );
}
