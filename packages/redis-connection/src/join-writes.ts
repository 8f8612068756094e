import { Redis } from 'ioredis';
import type { RedisClient } from './connect-redis.js';

/**
 * Makes the commands that follow in this turn of the event loop leave in one write. ioredis makes a system call for
 * each command. Commands to a cluster go to several servers, and leave at once.
 */
export function joinWrites(client: RedisClient): void {
  if (!(client instanceof Redis)) return;
  const { stream } = client; // a reconnect replaces it
  if (!stream || stream.writableCorked > 0) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}
