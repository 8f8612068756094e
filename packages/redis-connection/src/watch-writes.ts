import { isConnected, type RedisClient } from './connect-redis.js';

/** How often a write is tried. */
const TRY_MS = 1_000;

/**
 * Tries a write when the client connects and every second, and reports whether it works. A connection alone does not
 * tell: after a failover it may lead to a replica, which refuses writes. The write removes a key that does not exist.
 * Redis executes it at its memory limit too, where it refuses others: callers get `overloaded` then.
 * @param key a key of the caller's prefix, never used otherwise
 * @param onTried called with every outcome, and with false when the connection closes
 * @returns a function that ends the tries
 */
export function watchWrites(client: RedisClient, key: string, onTried: (works: boolean) => void): () => void {
  let ended = false;
  const report = (works: boolean) => {
    if (!ended) onTried(works);
  };
  const tryWrite = async () => {
    const works = await client.unlink(key).then(
      () => true,
      () => false,
    );
    report(works && isConnected(client));
  };
  client.on('ready', tryWrite);
  client.on('close', () => report(false));
  if (isConnected(client)) void tryWrite();
  const timer = setInterval(tryWrite, TRY_MS);
  return () => {
    ended = true;
    clearInterval(timer);
  };
}
