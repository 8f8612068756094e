import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { partitionQueueName, queuePrefix } from './queue-names.js';

/**
 * Returns how long the oldest waiting job of all partitions has waited, by the clock of Redis, ms. 0 if none waits.
 * Delayed and prioritised jobs do not count.
 */
export function oldestWaitingMs(client: RedisClient, keyPrefix: string, partitionCount: number): Promise<number> {
  const queuedMs = async (partition: number): Promise<number> => {
    const queue = `${queuePrefix(keyPrefix)}:${partitionQueueName(partition)}`;
    const id = await client.lindex(`${queue}:wait`, -1);
    const timestamp = id ? await client.hget(`${queue}:${id}`, 'timestamp') : null;
    // Taken meanwhile, or of a sender that sets no time.
    return Number(timestamp) > 0 ? Number(timestamp) : Number.POSITIVE_INFINITY;
  };
  return reachingRedis(async () => {
    const queued = await Promise.all(Array.from({ length: partitionCount }, (_, partition) => queuedMs(partition)));
    const [seconds, micros] = await client.time();
    return Math.max(0, Number(seconds) * 1_000 + Number(micros) / 1_000 - Math.min(...queued));
  });
}
