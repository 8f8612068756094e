import { CkvError, type Interaction, partitionOf, type Reason } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { createLogger, createMetrics, type Metrics } from '@collectivekv/service-kit';
import {
  createInteractionProducer,
  type FailedJob,
  type InteractionProducer,
  inspectQueue,
  openLeaseTable,
  openPartitionQueue,
  openQueues,
  openReceipts,
  type PartitionQueue,
  type Receipts,
} from '@collectivekv/update-queue';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { createUpdaterMetrics } from '../metrics.js';
import { createFence, type RenewableFence } from '../partitions/fence.js';
import type { EncodedInteractions, RecordWriter } from '../records/record-writer.js';
import { createWarmer, type Warmer } from '../warming/warmer.js';
import { createJobBatches, type JobBatches, type TakenJobs } from './job-batches.js';
import { createLateCalls, type LateCalls } from './late-calls.js';
import { createRetryWhileHeld } from './retry-while-held.js';

/** Partitions of the queue. The member holds all. */
export const PARTITION_COUNT = 2;
export const FENCE_END_MS = 1_700_000_000_000;
export const ENCODED: EncodedInteractions = { encodings: [], unknownItemCount: 2, unknownActionCount: 1 };

const EVENT_LOG = { ageMs: 3_600_000, maxEvents: 1_000 };

/** Encodings: of the active bundle, and one that tests warm. */
const ACTIVE_ENCODING = 'a'.repeat(16);
export const ENCODING = 'b'.repeat(16);
const WARMED: EncodedInteractions = { ...ENCODED };
/** Interactions a second that the warmer may apply. */
export const RATE = 10_000;

type JobOptions = Parameters<ReturnType<typeof openQueues>[number]['add']>[2];

/** The parts of a test, new for each. */
export interface JobBench {
  client: RedisClient;
  producer: InteractionProducer;
  queues: PartitionQueue[];
  fences: RenewableFence[];
  receipts: Receipts;
  lateCalls: LateCalls;
  metrics: Metrics;
  stopping: AbortController;
  batches: JobBatches;
  warmer: Warmer;
  /** The writer's calls: `encode e1 e2`, `append u:e1 v:e2`, `forget e1`; for the encoding to warm `warm u:e1`. */
  calls: string[];
  /** Failures of the writer's next calls, by the call's first word; with a user, of every call for that user. */
  failures: { readonly of: string; readonly error: CkvError; readonly user?: string }[];
  /** True if a bundle of the encoding to warm is loaded. */
  knowsEncoding: boolean;
  /** Failure of every `encode` for the encoding to warm. */
  encodeFailure: CkvError | undefined;
  /** For each `encode` of live interactions: true if it included the encoding to warm. */
  encodesWarming: boolean[];
  /** The users of `append` calls that wrote to the encoding to warm. */
  direct: string[];
  /** Users whose interactions the writer takes for repeated. */
  repeatedUsers: ReadonlySet<string>;
  /** Runs at the beginning of each of the writer's calls. */
  onCall: (call: string) => void;
  /** The end of the fence of each of the writer's calls. */
  validUntil: number[];
}

/** See {@link JobBench}. */
export const bench = {} as JobBench;

/** Starts Redis before the tests of a file, makes the parts before each test, and stops Redis after all. */
export function useJobBatches(): void {
  let redis: PrivateRedis;
  beforeAll(async () => {
    redis = await startTemporaryRedis();
    bench.client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  });
  afterAll(async () => {
    closeRedis(bench.client);
    await redis.stop();
  });
  beforeEach(async () => {
    const { client } = bench;
    await client.flushall();
    bench.producer = createInteractionProducer({
      client,
      keyPrefix: 'ckv',
      partitionCount: PARTITION_COUNT,
      maxWaitingJobs: 99,
    });
    const { terms } = await openLeaseTable(client, 'ckv', PARTITION_COUNT).hold('one', 60_000);
    bench.queues = terms.map((term) =>
      openPartitionQueue({ client, keyPrefix: 'ckv', term, token: 'one', eventLog: EVENT_LOG }),
    );
    for (const queue of bench.queues) await queue.recover();
    bench.fences = terms.map((term) => {
      const fence = createFence(term);
      fence.renew({ endsMs: FENCE_END_MS + term.partition, heldUntilMs: Number.POSITIVE_INFINITY, endedByMs: 0 });
      return fence;
    });
    bench.receipts = openReceipts({ client, keyPrefix: 'ckv', ttlS: 600 });
    bench.lateCalls = createLateCalls();
    bench.stopping = new AbortController();
    bench.calls = [];
    bench.failures = [];
    bench.validUntil = [];
    bench.knowsEncoding = true;
    bench.encodesWarming = [];
    bench.direct = [];
    bench.encodeFailure = undefined;
    bench.repeatedUsers = new Set();
    bench.onCall = () => undefined;
    bench.batches = createBatches(bench.producer);
  });
  afterEach(() => Promise.all([...bench.queues.map((queue) => queue.close()), bench.producer.close()]));
}

/** Creates batches that forward jobs by this producer, and write records by this writer. */
export function createBatches(
  forwarding: Pick<InteractionProducer, 'forward'>,
  recordWriter: RecordWriter = writer,
): JobBatches {
  bench.metrics = createMetrics('test');
  const metrics = createUpdaterMetrics(bench.metrics);
  const log = createLogger('test', 'silent');
  const { receipts, lateCalls } = bench;
  const { signal } = bench.stopping;
  const retryWhileHeld = createRetryWhileHeld({ metrics, log, signal });
  const parts = { writer: recordWriter, retryWhileHeld, lateCalls, signal, metrics, log };
  bench.warmer = createWarmer({ ...parts, ratePerS: RATE });
  return createJobBatches({
    producer: forwarding,
    partitionCount: PARTITION_COUNT,
    writer: recordWriter,
    receipts,
    lateCalls,
    metrics,
    log,
    signal,
  });
}

function called(name: string, rest: readonly string[]): void {
  const call = [name, ...rest].join(' ');
  bench.calls.push(call);
  bench.onCall(call);
  const failure = bench.failures.find(
    ({ of, user }) => of === name && (!user || rest.some((one) => one.startsWith(`${user}:`))),
  );
  if (!failure) return;
  if (!failure.user) bench.failures.splice(bench.failures.indexOf(failure), 1);
  throw failure.error;
}

const writer: RecordWriter = {
  knows: (encodingId) => encodingId === ENCODING && bench.knowsEncoding,
  async encode(interactions, wants = () => true) {
    if (!wants(ACTIVE_ENCODING)) {
      if (bench.encodeFailure) throw bench.encodeFailure;
      return WARMED;
    }
    bench.encodesWarming.push(wants(ENCODING));
    called(
      'encode',
      interactions.map(({ eventId }) => eventId),
    );
    return ENCODED;
  },
  async append(byUser, encoded, { validUntilMs, writes }) {
    bench.validUntil.push(validUntilMs());
    if (encoded !== WARMED) bench.direct.push(...[...byUser.keys()].filter((userId) => writes(ENCODING, userId)));
    called(
      encoded === WARMED ? 'warm' : 'append',
      [...byUser].map(([userId, list]) => `${userId}:${list.map(({ eventId }) => eventId)}`),
    );
    return {
      appliedCount: [...byUser.values()].flat().length,
      duplicateCount: 1,
      repeatedUsers: bench.repeatedUsers,
    };
  },
  async forget({ eventId }, validUntilMs) {
    bench.validUntil.push(validUntilMs());
    called('forget', [eventId]);
    const positionCount = eventId === 'unknown' ? 0 : 1;
    return [{ encodingId: 'b', recordCount: 0, unreadableCount: 0, positionCount, remainder: 'nothing' }];
  },
  async deleteUser(userId, validUntilMs) {
    bench.validUntil.push(validUntilMs());
    called('delete', [userId]);
    return [];
  },
};

/** A user of each partition. */
export const [u, v] = [0, 1].map((partition) => {
  const ids = Array.from({ length: 99 }, (_, i) => `user-${i}`);
  return ids.find((userId) => partitionOf(userId, PARTITION_COUNT) === partition) ?? '';
}) as [string, string];
/** Another user of the first partition. */
export const w =
  Array.from({ length: 99 }, (_, i) => `other-${i}`).find((id) => partitionOf(id, PARTITION_COUNT) === 0) ?? '';

/** Returns an interaction. */
export const interactionOf = (userId: string, eventId: string): Interaction => ({
  eventId,
  userId,
  itemId: 'i',
  timestampMs: 1_700_000_000_000,
  action: '',
  features: {},
});
/** Queues a job of these interactions. */
export const enqueue = (...interactions: [userId: string, eventId: string][]) =>
  bench.producer.enqueue(interactions.map(([userId, eventId]) => interactionOf(userId, eventId)));

/** Adds a job to the first partition as any BullMQ client does. */
export async function addJob(name: string, jobData: object, opts: JobOptions = {}): Promise<void> {
  const [first] = openQueues(bench.client, 'ckv', 1);
  await first?.add(name, jobData, opts);
  await first?.close();
}

/** Takes the jobs of all partitions. */
export async function take(): Promise<TakenJobs[]> {
  const taken = bench.queues.map(async (queue, i) => ({
    queue,
    fence: bench.fences[i] as RenewableFence,
    jobs: await queue.take(9),
  }));
  return (await Promise.all(taken)).filter(({ jobs }) => jobs.length > 0);
}
/** Takes, prepares and applies jobs until none is left. */
export async function work(): Promise<void> {
  for (let taken = await take(); taken.length > 0; taken = await take()) {
    await bench.batches.apply(await bench.batches.prepare(taken));
  }
}

/** Returns the numbers of jobs of all partitions. */
export async function counts(): Promise<{ waiting: number; active: number; failed: number }> {
  const inspection = inspectQueue({ client: bench.client, keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
  const all = await inspection.counts();
  await inspection.close();
  const sum = (name: 'waiting' | 'active' | 'failed') => all.reduce((total, one) => total + one[name], 0);
  return { waiting: sum('waiting'), active: sum('active'), failed: sum('failed') };
}
/** Returns the jobs that were set aside. */
export async function failedJobs(): Promise<FailedJob[]> {
  const inspection = inspectQueue({ client: bench.client, keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
  const failed = await inspection.failed(9);
  await inspection.close();
  return failed;
}
/** The samples of a metric by its label's value; '' without a label. */
export async function samples(name: string): Promise<Record<string, number>> {
  const text = await bench.metrics.registry.getSingleMetricAsString(name);
  const lines = text.split('\n').flatMap((line) => {
    const [, labels = '', value = ''] = /^\w+(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    const label = /(?:outcome|kind|reason)="(\w+)"/.exec(labels)?.[1] ?? '';
    return value === '' ? [] : [[label, Number(value)] as const];
  });
  return Object.fromEntries(lines);
}
/** Returns the interactions in the event log of a partition: `u:e1 v:e2`. */
export async function logged(partition = 0): Promise<string> {
  const entries = await bench.client.xrange(`{ckv}:event-log-${partition}`, '-', '+');
  return entries.map(([, [, userId, , eventId]]) => `${userId}:${eventId}`).join(' ');
}
/** Returns a transient error. */
export const transient = (reason: Reason = 'dependency_unavailable') => new CkvError(reason, 'later');
