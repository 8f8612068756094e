import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Field names that are never written, wherever they stand in what is logged. */
const SECRET = ['token', 'authorization', 'password', 'userId', 'userIds', 'user_id', 'rows', 'record', 'records'];

/** What waits where stderr takes nothing, a full disk's file say; then lines are left out. */
const MAX_WAITING_BYTES = 1024 * 1024;

/** A JSON logger on stderr; what names a user or a secret is redacted. It never fails: lines that stderr refuses are lost. */
export function createLogger(service: string, level: string): Logger {
  const paths = SECRET.flatMap((name) => [name, `*.${name}`]);
  // Written at once: what pino keeps for later it writes as the process exits, and again for ever where that fails.
  const stderr = pino.destination({ dest: 2, sync: true, maxLength: MAX_WAITING_BYTES });
  stderr.on('error', () => undefined);
  return pino({ level, base: { service }, redact: { paths, censor: '[redacted]' } }, stderr);
}
