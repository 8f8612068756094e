import { createCollectiveKvClient } from '@collectivekv/client';
import { closeRedis, connectedRedis } from '@collectivekv/redis-connection';
import { Queue } from 'bullmq';
import { PARTITIONS } from '../oracle/queue-state.js';
import type { Doors } from './calls.js';

/** Parts of {@link openDoors}. */
export interface DoorParts {
  /** Targets of the ranking services and of the updaters. */
  readonly ranking: string;
  readonly updater: string;
  /** URL of the queue's Redis. */
  readonly queueUrl: string;
  /** Copies that a job waits for, as the updaters wait for them. */
  readonly confirmReplicas: number;
  /** Default 5 s. */
  readonly rankTimeoutMs?: number;
}

const RECORD_TIMEOUT_MS = 3_000;
/**
 * Longer than the default of 1 s, because the machine may be busy; shorter than the stops, so that a replica that hangs
 * shows.
 */
const RANK_TIMEOUT_MS = 5_000;

/** Opens the doors of a system: the SDK, and BullMQ's queues. */
export async function openDoors(parts: DoorParts): Promise<Doors & { close(): Promise<void> }> {
  const { ranking, updater, queueUrl, confirmReplicas, rankTimeoutMs = RANK_TIMEOUT_MS } = parts;
  const client = createCollectiveKvClient({
    rankingTarget: ranking,
    interactionTarget: updater,
    recordTimeoutMs: RECORD_TIMEOUT_MS,
    rankTimeoutMs,
  });
  const named = { field: 'url', name: 'chaos-bullmq', whenAway: 'wait', confirmReplicas } as const;
  const connection = await connectedRedis(queueUrl, named);
  connection.on('error', () => undefined);
  const queues = Array.from(
    { length: PARTITIONS },
    (_, i) => new Queue(`interactions-${i}`, { connection: connection as never, prefix: '{ckv}' }),
  );
  for (const queue of queues) queue.on('error', () => undefined); // its calls reject as well
  return {
    client,
    queues,
    async close() {
      client.close();
      await Promise.all(queues.map((queue) => queue.close()));
      closeRedis(connection);
    },
  };
}
