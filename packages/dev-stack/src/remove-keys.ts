import { closeRedis, connectedRedis, primariesOf, redisTlsFrom } from '@collectivekv/redis-connection';

/**
 * Deletes all keys of a key prefix: records `<prefix>:…` and queue `{<prefix>}:…`.
 * @param tls variables for TLS to Redis
 */
export async function removeKeys(
  redisUrl: string,
  keyPrefix: string,
  tls: Readonly<Record<string, string>> = {},
): Promise<void> {
  const options = { field: 'CKV_REDIS_URL', name: 'ckv-dev-stack', whenAway: 'fail', tls: redisTlsFrom(tls) } as const;
  const client = await connectedRedis(redisUrl, options);
  try {
    for (const primary of primariesOf(client)) {
      for (const pattern of [`${keyPrefix}:*`, `{${keyPrefix}}:*`]) {
        let cursor = '0';
        do {
          const [next, keys] = await primary.scan(cursor, 'MATCH', pattern, 'COUNT', 1_000);
          cursor = next;
          await Promise.all(keys.map((key) => primary.unlink(key)));
        } while (cursor !== '0');
      }
    }
  } finally {
    closeRedis(client);
  }
}
