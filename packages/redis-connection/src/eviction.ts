import { primariesOf, type RedisClient } from './connect-redis.js';

/** What Redis does at its memory limit. */
export interface Eviction {
  /** The servers' `maxmemory-policy`, without `noeviction` and without repeats. Empty if no server may evict. */
  readonly evictingPolicies: readonly string[];
  /** Keys of any kind that the servers have evicted since they started. */
  readonly evictedKeyCount: number;
}

/**
 * Asks every server that holds keys what it does at its memory limit.
 * @returns undefined if the user of Redis may not ask: its access rules lack `+info`
 */
export async function readEviction(client: RedisClient): Promise<Eviction | undefined> {
  try {
    const answers = await Promise.all(primariesOf(client).map((server) => server.info()));
    const policies = answers.map((answer) => /^maxmemory_policy:(\S+)/m.exec(answer)?.[1] ?? 'noeviction');
    return {
      evictingPolicies: [...new Set(policies)].filter((policy) => policy !== 'noeviction'),
      evictedKeyCount: answers.reduce((sum, answer) => sum + Number(/^evicted_keys:(\d+)/m.exec(answer)?.[1] ?? 0), 0),
    };
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('NOPERM')) return undefined;
    throw error;
  }
}
