import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisClient } from '@collectivekv/redis-connection';
import { partitionQueueName, queuePrefix } from './queue-names.js';

/** Waits for new jobs. */
export interface Arrivals {
  /** Resolves when one of the partitions may have a new job, or after `timeoutMs`. Never rejects. */
  wait(partitions: readonly number[], timeoutMs: number): Promise<void>;
}

/** Pause if there is no partition to watch, or if Redis is away. */
const AWAY_MS = 20;

/**
 * Watches for new jobs by the markers that BullMQ sets, in any language, when a job can be taken.
 * @param client a connection of its own, since the wait blocks it
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
        await sleep(AWAY_MS); // Redis is away: the next call to the queue fails
      }
    },
  };
}
