import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess } from '@collectivekv/dev-stack';
import type { Interaction } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/grpc-client';
import { closeRedis, connectedRedis } from '@collectivekv/redis-connection';
import { createInteractionProducer, recordJobData } from '@collectivekv/update-queue';
import { type ConnectionOptions, Queue, Worker } from 'bullmq';

const USERS = 500;
const ADD_AT_ONCE = 1_000;

function interactions(count: number): Interaction[] {
  return Array.from({ length: count }, (_, i) => ({
    eventId: `bench-${i}`,
    userId: `bench-${i % USERS}`,
    itemId: `i${String(i % 2_000).padStart(4, '0')}`,
    timestampMs: 1_700_000_000_000 + i,
    action: 'click',
    features: { watch_ratio: 0.5 },
  }));
}

const connected = (redisUrl: string) => connectedRedis(redisUrl, { field: 'url', name: 'bench', whenAway: 'wait' });

/** Interactions a second from a full queue to records, one job an interaction, by one updater that starts on them. */
export async function updateRate(
  redisUrl: string,
  updater: ServiceProcess,
  userCache: GrpcClient<'UserCacheService'>,
  count: number,
): Promise<number> {
  const client = await connected(redisUrl);
  const maxWaitingJobs = count;
  const producer = createInteractionProducer({ client, keyPrefix: 'ckv', partitionCount: 16, maxWaitingJobs });
  const applied = async () => (await userCache.call('Stats', { bundleId: '', maxRecords: 0 })).lifetimeCount;
  const before = await applied();
  await updater.kill('SIGTERM');
  for (const one of interactions(count)) await producer.record([one]);
  await updater.restart();
  while ((await applied()) === before) await sleep(5);
  const startedMs = performance.now();
  const first = await applied();
  let now = first;
  while (now < before + count) {
    await sleep(20);
    now = await applied();
  }
  const rate = ((now - first) * 1_000) / (performance.now() - startedMs);
  await producer.close();
  closeRedis(client);
  return rate;
}

/** Jobs a second that a BullMQ worker finishes which does nothing with them. */
export async function noopRate(redisUrl: string, count: number): Promise<number> {
  const client = await connected(redisUrl);
  const connection = client as unknown as ConnectionOptions;
  const queue = new Queue('noop', { connection });
  const all = interactions(count);
  for (let from = 0; from < count; from += ADD_AT_ONCE) {
    const batch = all.slice(from, from + ADD_AT_ONCE);
    await queue.addBulk(
      batch.map((one) => ({ name: 'record', data: recordJobData([one]), opts: { removeOnComplete: true } })),
    );
  }
  let finished = 0;
  let startedMs = 0;
  const rate = await new Promise<number>((resolve) => {
    const worker = new Worker('noop', async () => undefined, { connection, concurrency: 50 });
    worker.on('completed', () => {
      if (finished === 0) startedMs = performance.now();
      finished++;
      if (finished < count) return;
      resolve(((count - 1) * 1_000) / (performance.now() - startedMs));
      void worker.close();
    });
  });
  await queue.obliterate({ force: true });
  await queue.close();
  closeRedis(client);
  return rate;
}
