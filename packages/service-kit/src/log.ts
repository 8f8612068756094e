import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Field names that are never written, wherever they stand in what is logged. */
const SECRET = ['token', 'authorization', 'password', 'userId', 'userIds', 'user_id', 'rows', 'record', 'records'];

/** A JSON logger on stderr; what names a user or a secret is redacted. */
export function createLogger(service: string, level: string): Logger {
  const paths = SECRET.flatMap((name) => [name, `*.${name}`]);
  return pino({ level, base: { service }, redact: { paths, censor: '[redacted]' } }, pino.destination(2));
}
