import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisClient } from '@collectivekv/redis-connection';
import { partitionQueueName, queuePrefix } from './queue-names.js';

/** Waits for jobs to come. */
export interface Arrivals {
  /** Resolves when a job may have come to one of the partitions, or after `timeoutMs`; never rejects. */
  wait(partitions: readonly number[], timeoutMs: number): Promise<void>;
}

const AWAY_MS = 20;

/**
 * Watches for arrivals by the markers that BullMQ sets, from any language, whenever a job can be taken.
 * @param client a connection of its own: it blocks
 */
export function watchArrivals(client: RedisClient, keyPrefix: string): Arrivals {
  return {
    async wait(partitions, timeoutMs) {
      if (partitions.length === 0) return sleep(Math.min(timeoutMs, AWAY_MS));
      const markers = partitions.map(
        (partition) => `${queuePrefix(keyPrefix)}:${partitionQueueName(partition)}:marker`,
      );
      try {
        await client.bzpopmin(...markers, timeoutMs / 1_000);
      } catch {
        await sleep(AWAY_MS); // Redis is away: whoever looks at the queue next learns it
      }
    },
  };
}
