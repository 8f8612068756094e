import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisClient } from '@collectivekv/redis-connection';
import { createInteractionProducer, type InteractionProducer, recordJobData } from '@collectivekv/update-queue';
import { type ConnectionOptions, Queue, Worker } from 'bullmq';
import { type Bench, KEY_PREFIX } from './bench-context.js';

const USERS = 500;
const ADD_AT_ONCE = 1_000;
const PARTITIONS = 16;
const POLL_MS = 50;
/** Without progress for this time, the work counts as stuck. */
const STUCK_MS = 30_000;
/** A rate is measured between these shares of the work, because start and end are not steady. */
const [FROM, TO] = [0.1, 0.9] as const;

/** Creates a producer on a connection of the bench. */
export function openProducer(client: RedisClient): InteractionProducer {
  return createInteractionProducer({
    client,
    keyPrefix: KEY_PREFIX,
    partitionCount: PARTITIONS,
    maxWaitingJobs: Number.MAX_SAFE_INTEGER,
  });
}

/** Returns the interactions per second that one updater stores from a full queue, with one interaction per job. */
export async function updateRate({ log, ours, redis }: Bench, count: number, seed: number): Promise<number> {
  const [updater] = ours.stack.services.updater;
  if (!updater) throw new Error('there is no updater');
  const applied = () => appliedCount(redis, ours.model.encodingId);
  const before = await applied();
  await updater.kill('SIGTERM');
  const producer = openProducer(redis);
  for (const one of log.events(count, { users: USERS, seed })) await producer.enqueue([one]);
  await producer.close();
  await updater.restart();
  return steadyRate(async () => (await applied()) - before, count);
}

/** Returns the jobs per second of a BullMQ worker that does nothing. */
export async function noopRate({ log, redis }: Bench, count: number): Promise<number> {
  const connection = redis as unknown as ConnectionOptions;
  const queue = new Queue('noop', { connection });
  const all = log.events(count, { users: USERS, seed: 1 });
  for (let from = 0; from < count; from += ADD_AT_ONCE) {
    const batch = all.slice(from, from + ADD_AT_ONCE);
    await queue.addBulk(
      batch.map((one) => ({ name: 'record', data: recordJobData([one]), opts: { removeOnComplete: true } })),
    );
  }
  let finished = 0;
  const worker = new Worker('noop', async () => undefined, { connection, concurrency: 50 });
  worker.on('completed', () => finished++);
  const rate = await steadyRate(async () => finished, count);
  await worker.close();
  await queue.obliterate({ force: true });
  await queue.close();
  return rate;
}

/** Returns the rate per second between the first poll with a tenth of the work done and the first with nine tenths. */
async function steadyRate(doneCount: () => Promise<number>, count: number): Promise<number> {
  let from: { ms: number; count: number } | undefined;
  let to: { ms: number; count: number } | undefined;
  let last = { ms: performance.now(), count: 0 };
  for (;;) {
    const now = { count: await doneCount(), ms: performance.now() };
    if (now.count > last.count) last = now;
    if (now.ms - last.ms > STUCK_MS)
      throw new Error(`no progress for ${STUCK_MS / 1_000} s at ${last.count} of ${count}`);
    if (now.count >= FROM * count) from ??= now;
    if (now.count >= TO * count) to ??= now;
    if (now.count >= count) break;
    await sleep(POLL_MS);
  }
  if (!from || !to || from === to)
    throw new Error(`${count} interactions are too few to measure a rate; increase --slice-ms`);
  return ((to.count - from.count) * 1_000) / (to.ms - from.ms);
}

/** Returns the number of interactions ever applied to the users' records, from the headers: see docs/wire-format.md. */
async function appliedCount(redis: RedisClient, encodingId: string): Promise<number> {
  const headers = Array.from({ length: USERS }, (_, i) => {
    return redis.getrangeBuffer(`${KEY_PREFIX}:{bench-${i}}:${encodingId.slice(0, 8)}`, 14, 19);
  });
  return (await Promise.all(headers)).reduce((sum, header) => sum + (header.length ? header.readUIntLE(0, 6) : 0), 0);
}
