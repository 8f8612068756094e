import type { ConnectionOptions } from 'bullmq';
import { Queue } from 'bullmq';
import fc from 'fast-check';
import { damagedJson, damagedValues } from '../inputs/damaged-json.js';
import { hostileText } from '../inputs/hostile.js';
import type { ServicesUnderFuzz } from '../services-under-fuzz.js';
import type { Surface } from '../surface.js';

/** A job in the queue: as BullMQ adds one, or as its keys in Redis. */
type QueuedJob =
  | { readonly kind: 'added'; readonly name: string; readonly content: unknown }
  | {
      readonly kind: 'raw';
      readonly id: string;
      readonly fields: Readonly<Record<string, string>>;
      /** Type of the key that should hold the job's hash. */
      readonly type: 'hash' | 'string' | 'none';
    };

const PARTITION = 3;
/** A user of this partition. */
const USER = 'user-14';
const interaction = {
  eventId: 'e',
  userId: USER,
  itemId: 'i0001',
  timestampMs: 1_700_000_000_000,
  action: 'click',
  features: { watch_ratio: 1 },
};
const CONTENTS = [
  { version: 1, interactions: [interaction] },
  { version: 1, interactions: [interaction, { ...interaction, eventId: 'f' }, { ...interaction, userId: 'other' }] },
  { version: 1, interaction },
  { version: 1, interaction: { eventId: 'e', userId: USER } },
];
const OPTIONS = [{ attempts: 1, delay: 0, removeOnComplete: true, removeOnFail: { count: 5 } }, {}];
/** Longest time until a job is settled, or an interaction behind it is applied. Less than the time of an input. */
const WAIT_MS = 45_000;

const name = fc.oneof({ weight: 6, arbitrary: fc.constantFrom('record', 'forget') }, hostileText);
const text = (seeds: readonly unknown[]) => damagedJson(seeds).map((bytes) => bytes.toString('latin1'));
const fields = fc.record(
  {
    name,
    data: fc.oneof(text(CONTENTS), fc.constant(JSON.stringify(CONTENTS[0]))),
    opts: fc.oneof(text(OPTIONS), fc.constant('{"attempts":1}')),
    timestamp: fc.oneof(fc.constant(String(1_700_000_000_000)), hostileText),
    progress: fc.oneof(fc.constantFrom('0', '1', '-1', '99999999', '"x"', 'null', '{}'), hostileText),
    parentKey: hostileText,
    parent: text([{ id: '1', queueKey: 'x' }]),
    atm: hostileText,
    ats: hostileText,
    priority: hostileText,
    delay: hostileText,
    stacktrace: hostileText,
    deid: hostileText,
    rjk: hostileText,
    returnvalue: hostileText,
  },
  { requiredKeys: ['name', 'data'] },
);

const good = { name: 'record', data: JSON.stringify(CONTENTS[0]) };
/** Jobs that stopped a partition: BullMQ's scripts fail with their fields. */
const FOUND: readonly QueuedJob[] = [
  { ...good, ats: 'x' },
  { ...good, atm: 'x' },
  { ...good, opts: '{"attempts":"three"}', data: '1' },
  { ...good, opts: '{"removeOnComplete":{"count":"x"}}' },
  { ...good, parent: 'not JSON' },
  { ...good, stacktrace: 'not JSON', data: '1' },
].map((fields) => ({ kind: 'raw', id: '', fields, type: 'hash' }));

/** Number of the next job. It never starts again: the queue and the updater remember names. */
let next = 0;

/** Jobs of every form. The updater must complete each or set it aside, and go on. */
export function jobsSurface({ redis, kv, stillRight }: ServicesUnderFuzz): Surface<QueuedJob> {
  const queue = new Queue(`interactions-${PARTITION}`, {
    connection: redis as unknown as ConnectionOptions,
    prefix: '{ckv}',
    skipMetasUpdate: true,
  });
  const keyOf = (suffix: string, partition = PARTITION) => `{ckv}:interactions-${partition}:${suffix}`;
  const partitions = Array.from({ length: 16 }, (_, partition) => partition);

  async function add(job: QueuedJob): Promise<void> {
    if (job.kind === 'added') {
      await queue.add(job.name || 'x', job.content, { jobId: `fuzz-${next}` });
      return;
    }
    const id = job.id === '' ? `raw-${next}` : `${job.id}${next}`;
    if (job.type === 'hash') await redis.hset(keyOf(id), job.fields);
    if (job.type === 'string') await redis.set(keyOf(id), 'text');
    await redis.lpush(keyOf('wait'), id);
    await redis.zadd(keyOf('marker'), '0', '0');
  }

  /** Returns the number of jobs that wait or are worked on, over all partitions. */
  async function openCount(): Promise<number> {
    const lengths = await Promise.all(
      partitions.flatMap((p) => [redis.llen(keyOf('wait', p)), redis.llen(keyOf('active', p))]),
    );
    return lengths.reduce((sum, length) => sum + length, 0);
  }

  /** Takes the jobs that were set aside out of the queue, and returns their reasons. */
  async function takeAside(): Promise<string[]> {
    const reasons: string[] = [];
    for (const partition of partitions) {
      for (const id of await redis.zrange(keyOf('failed', partition), '0', '-1')) {
        reasons.push((await redis.hget(keyOf(id, partition), 'failedReason')) ?? '');
        await redis.unlink(keyOf(id, partition));
        await redis.zrem(keyOf('failed', partition), id);
      }
    }
    return reasons;
  }

  return {
    name: 'jobs in the queue',
    found: FOUND,
    inputs: fc.oneof(
      fc.record({ kind: fc.constant('added' as const), name, content: damagedValues(CONTENTS) }),
      fc.record({
        kind: fc.constant('raw' as const),
        id: fc.oneof(
          fc.constant(''),
          hostileText.map((id) => id.slice(0, 200)),
        ),
        fields,
        type: fc.oneof(
          { weight: 8, arbitrary: fc.constant('hash' as const) },
          fc.constantFrom('string' as const, 'none' as const),
        ),
      }),
    ),
    async judge(job) {
      next++;
      await add(job);
      const deadlineMs = Date.now() + WAIT_MS;
      while ((await openCount()) > 0) {
        if (Date.now() > deadlineMs) throw new Error('hang: a job stays in the queue');
      }
      const reasons = await takeAside();
      const unexplained = reasons.find((reason) => !reason.startsWith('invalid_request: '));
      if (unexplained !== undefined) throw new Error(`a job was set aside because of "${unexplained}"`);
      return reasons.length > 0 ? 'refused' : 'accepted';
    },
    async stillRight() {
      await stillRight();
      const userId = `after-${next}`;
      await kv.recordInteractions([{ ...interaction, userId, eventId: `${userId}-e` }]);
      const deadlineMs = Date.now() + WAIT_MS;
      for (;;) {
        const { info } = await kv.rank({ userId, candidateIds: ['i0001'] });
        if (info.positionCount === 1) break;
        if (Date.now() > deadlineMs) throw new Error('an interaction behind the jobs is not applied');
      }
      await redis.unlink(...(await redis.keys(`ckv:{${userId}}:*`)));
    },
    async close() {
      await queue.close();
    },
  };
}
