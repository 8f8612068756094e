import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { type ConnectionOptions, Queue, type QueueOptions } from 'bullmq';
import { partitionQueueName, queuePrefix } from './queue-names.js';

/** Most failed jobs that a partition keeps. At this bound the oldest is deleted. */
export const MAX_FAILED_JOBS = 10_000;

/** Returns the options that every queue has. */
export function queueOptions(client: RedisClient, keyPrefix: string): QueueOptions & { readonly prefix: string } {
  return {
    connection: client as unknown as ConnectionOptions,
    prefix: queuePrefix(keyPrefix),
    streams: { events: { maxLen: 100 } },
    defaultJobOptions: {
      attempts: 1, // the updater retries transient errors in place, which keeps order, and sets other jobs aside at once
      removeOnComplete: true,
      removeOnFail: { count: MAX_FAILED_JOBS },
    },
  };
}

/** Opens every partition for producing and inspecting. An inspector writes nothing as it opens them. */
export function openQueues(
  client: RedisClient,
  keyPrefix: string,
  partitionCount: number,
  { inspectOnly = false } = {},
): Queue[] {
  return Array.from({ length: partitionCount }, (_, partition) => {
    const options = { ...queueOptions(client, keyPrefix), skipMetasUpdate: inspectOnly };
    const queue = new Queue(partitionQueueName(partition), options);
    queue.on('error', () => undefined); // the failed call rejects as well
    return queue;
  });
}

/**
 * Returns the number of waiting jobs of each partition: one cheap read, which counts neither delayed nor prioritised
 * jobs.
 */
export async function waitingCounts(
  client: RedisClient,
  keyPrefix: string,
  partitions: readonly number[],
): Promise<number[]> {
  const keys = partitions.map((partition) => `${queuePrefix(keyPrefix)}:${partitionQueueName(partition)}:wait`);
  return reachingRedis(() => Promise.all(keys.map((key) => client.llen(key))));
}
