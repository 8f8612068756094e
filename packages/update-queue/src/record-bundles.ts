import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { recordBundlesKey } from './queue-names.js';

/**
 * The bundles that updaters wrote records for, on the server of the queue. This server never evicts, so a deletion finds
 * the records of every bundle, even if the records' Redis lost its own list. Throws dependency_unavailable.
 */
export interface RecordBundles {
  /** Notes bundles; call it before their first append. One command for each new bundle. */
  note(bundleIds: readonly string[]): Promise<void>;
  /** Returns the ids of all noted bundles. */
  all(): Promise<string[]>;
}

/** Opens the list of bundles. */
export function openRecordBundles(client: RedisClient, keyPrefix: string): RecordBundles {
  const key = recordBundlesKey(keyPrefix);
  const noted = new Set<string>();
  return {
    async note(bundleIds) {
      const unnoted = bundleIds.filter((id) => !noted.has(id));
      if (unnoted.length === 0) return;
      await reachingRedis(() => client.sadd(key, ...unnoted));
      for (const id of unnoted) noted.add(id);
    },
    all: () => reachingRedis(() => client.smembers(key)),
  };
}
