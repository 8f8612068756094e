import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeRows, loadBundle } from '@collectivekv/bundles';
import { createCollectiveKvClient, type RankInput } from '@collectivekv/client';
import { type ServiceProcess, type Stack, startStack } from '@collectivekv/dev-stack';
import {
  type BundleModel,
  CkvError,
  EVENT_HASH_BYTES,
  encodeRecord,
  type Interaction,
  RECENT_EVENT_RING,
} from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import { type PrivateRedis, startPrivateRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { inspectQueue } from '@collectivekv/update-queue';
import { createRedisUserStore, recordMemory } from '@collectivekv/user-store';
import type { ProcessCost, ServiceCosts } from './service-costs.js';

/** What to measure. */
export interface CalibrationOptions {
  readonly bundleDir: string;
  /** Length of all records. */
  readonly positions: number;
  readonly candidates: number;
  readonly callInteractions: number;
  /** Time of each of the two measurements, s. */
  readonly seconds: number;
  readonly onProgress: (message: string) => void;
}

const KEY_PREFIX = 'ckv';
const PARTITIONS = 16;
const RECORD_TTL_S = 86_400;
/** Calls at once. With more interactions at once an updater's batches are larger, as under load. */
const IN_FLIGHT = { ranks: 8, interactions: 32 };
const REFUSED_PAUSE_MS = 50;
const WARM_UP_SHARE = 0.5;
const CALL_TIMEOUT_MS = 30_000;
const DRAIN_POLL_MS = 20;
const DRAIN_TIMEOUT_MS = 120_000;
/** Records are written until they take this memory, for as many users as there may be. */
const FILL_BYTES = 64_000_000;
const MAX_USERS = 2_000;
const MIN_USERS = 16;

/**
 * Measures the processor time of a rank request and of an interaction on this machine. Starts two private Redis servers
 * and one replica of each service with a temporary folder, writes records of the given length, and makes calls in
 * closed loops. Processor time is what each process counts for itself, so that the load beside it matters little.
 */
export async function calibrate(options: CalibrationOptions): Promise<ServiceCosts> {
  const dir = mkdtempSync(join(tmpdir(), 'ckv-plan-'));
  const removeDir = () => rmSync(dir, { recursive: true, force: true });
  process.once('exit', removeDir); // also after an interrupt
  const closing: (() => unknown)[] = [];
  try {
    return await measure(dir, options, (close) => closing.push(close));
  } finally {
    for (const close of closing.reverse()) await close();
    process.off('exit', removeDir);
    removeDir();
  }
}

async function measure(
  dir: string,
  options: CalibrationOptions,
  onClose: (close: () => unknown) => void,
): Promise<ServiceCosts> {
  const { bundleDir, positions, candidates, callInteractions, seconds, onProgress } = options;
  onProgress('starting Redis and the services');
  const queueServer = await startPrivateRedis({
    dir: join(dir, 'redis-server'),
    dataDir: join(dir, 'queue'),
    onProgress,
  });
  onClose(() => queueServer.stop());
  const env = { updater: { CKV_QUEUE_REDIS_URL: queueServer.url } };
  const stack = await startStack({
    dir: join(dir, 'stack'),
    bundlesDir: bundleDir,
    keyPrefix: KEY_PREFIX,
    env,
    onProgress,
  });
  onClose(() => stack.stop());
  const connect = async ({ url }: Pick<PrivateRedis, 'url'>) => {
    const redis = await connectedRedis(url, { field: 'url', name: 'ckv-plan', whenAway: 'wait' });
    onClose(() => closeRedis(redis));
    return redis;
  };
  const [records, queue] = await Promise.all([connect({ url: stack.redisUrl }), connect(queueServer)]);
  const client = createCollectiveKvClient({
    rankingTarget: stack.targets.ranking,
    interactionTarget: stack.targets.updater,
    rankTimeoutMs: CALL_TIMEOUT_MS,
    recordTimeoutMs: CALL_TIMEOUT_MS,
  });
  onClose(() => client.close());

  onProgress(`writing records of ${positions} positions`);
  const filled = await fill(bundleDir, positions, records);
  const { model, userCount } = filled;
  const rank = (i: number) => client.rank(rankInputOf(model, userCount, candidates, i));
  const record = (i: number) => client.recordInteractions(interactionsOf(model, userCount, callInteractions, i));

  async function costsOf(
    work: string,
    inFlight: number,
    each: (i: number) => Promise<unknown>,
    finish: () => Promise<void>,
  ) {
    onProgress(`${work}: warming up`);
    await repeat(each, inFlight, seconds * WARM_UP_SHARE);
    await finish();
    onProgress(`${work}: measuring for ${seconds} s`);
    const before = await spentBy(stack, records, queue);
    const count = await repeat(each, inFlight, seconds);
    await finish();
    const after = await spentBy(stack, records, queue);
    return { count, spent: (name: SpendingProcess) => difference(before[name], after[name]) };
  }
  const ranks = await costsOf('rank requests', IN_FLIGHT.ranks, rank, async () => undefined);
  const updates = await costsOf('interactions', IN_FLIGHT.interactions, record, () => untilDrained(queue));
  const perRank = ({ cpuMs, mainThreadMs }: ProcessCost) => divided({ cpuMs, mainThreadMs }, ranks.count);
  const perInteraction = (cost: ProcessCost) => divided(cost, updates.count * callInteractions);
  return {
    machine: machineText(),
    workload: `${model.manifest.name} (${model.id}): records of ${positions} positions, ${candidates} candidates, ${callInteractions} interactions a call`,
    rank: { ranking: perRank(ranks.spent('ranking')), recordsRedisMs: perRank(ranks.spent('records')).cpuMs },
    interaction: {
      updater: perInteraction(updates.spent('updater')),
      'user-cache': perInteraction(updates.spent('user-cache')),
      recordsRedisMs: perInteraction(updates.spent('records')).cpuMs,
      queueRedisMs: perInteraction(updates.spent('queue')).cpuMs,
    },
    residentBytes: {
      ranking: await residentBytes(stack.services.ranking),
      updater: await residentBytes(stack.services.updater),
      'user-cache': await residentBytes(stack.services['user-cache']),
      pool: await residentBytes(stack.services.pool),
    },
    recordUsedBytes: filled.recordUsedBytes,
  };
}

/** Writes one record for each user, all with the same rows, which the bundle encodes from random items. */
async function fill(bundleDir: string, positions: number, redis: RedisClient) {
  const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  const bundle = await loadBundle(bundleDir, engine, { graphs: ['encode'], verifyGolden: false });
  const { model } = bundle;
  const rows = await encodeRows(bundle, interactionsOf(model, 1, positions, 0));
  await bundle.close();
  await engine.close();
  const { strideBytes } = model.layout;
  const bytes = encodeRecord({
    encodingId: model.encodingId,
    strideBytes,
    lifetimeCount: positions,
    lastEventMs: Date.now(),
    recentEvents: new Uint8Array(Math.min(positions, RECENT_EVENT_RING) * EVENT_HASH_BYTES).fill(1),
    rows,
  });
  const store = createRedisUserStore({ client: redis, keyPrefix: KEY_PREFIX, recordTtlS: RECORD_TTL_S });
  const { usedBytes } = recordMemory({
    keyPrefix: KEY_PREFIX,
    userIdBytes: userIdOf(0).length,
    strideBytes,
    positionCount: positions,
  });
  const userCount = Math.min(MAX_USERS, Math.max(MIN_USERS, Math.floor(FILL_BYTES / usedBytes)));
  const before = await usedMemory(redis);
  for (let i = 0; i < userCount; i++) await store.replaceRecord(model.encodingId, userIdOf(i), bytes);
  const recordUsedBytes = ((await usedMemory(redis)) - before) / userCount;
  return { model, userCount, recordUsedBytes };
}

function userIdOf(i: number): string {
  return `user-${String(i).padStart(6, '0')}`;
}

/** Returns the interactions of the `call`-th call, each of another user in turn. */
function interactionsOf(model: BundleModel, userCount: number, count: number, call: number): Interaction[] {
  const { actions, features } = model.manifest;
  return Array.from({ length: count }, (_, i) => {
    const n = call * count + i;
    return {
      eventId: `event-${n}`,
      userId: userIdOf(n % userCount),
      itemId: model.items.idAt(1 + (scattered(n) % Math.max(1, model.items.count - 1))),
      timestampMs: Date.now(),
      action: actions[1 + (n % Math.max(1, actions.length - 1))] ?? actions[0] ?? '',
      features: Object.fromEntries(features.interaction.map(({ name, default: value }) => [name, value])),
    };
  });
}

function rankInputOf(model: BundleModel, userCount: number, candidates: number, i: number): RankInput {
  const { candidate } = model.manifest.features;
  const first = scattered(i);
  return {
    userId: userIdOf(i % userCount),
    candidateIds: Array.from({ length: candidates }, (_, j) => {
      return model.items.idAt(1 + ((first + j) % Math.max(1, model.items.count - 1)));
    }),
    candidateFeatures: Object.fromEntries(
      candidate.map(({ name, default: value }) => [name, new Float32Array(candidates).fill(value)]),
    ),
  };
}

/** Returns a whole number that looks random: Knuth's multiplicative hash. */
function scattered(n: number): number {
  return Math.imul(n, 2_654_435_761) >>> 0;
}

/**
 * Calls `each` with 0, 1, …, `inFlight` at once, for a time. Returns the number of calls that succeeded. A busy machine
 * may refuse calls: these do not count, and a pause follows.
 */
async function repeat(each: (i: number) => Promise<unknown>, inFlight: number, seconds: number): Promise<number> {
  const endMs = performance.now() + seconds * 1_000;
  let succeeded = 0;
  const loop = async () => {
    while (performance.now() < endMs) {
      try {
        await each(calls++);
        succeeded++;
      } catch (error) {
        if (!(error instanceof CkvError) || error.reason !== 'overloaded') throw error;
        await sleep(REFUSED_PAUSE_MS);
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  if (succeeded > 0) return succeeded;
  throw new Error(
    `no call succeeded within ${seconds} s: measure on a machine that is less busy, or longer (--seconds)`,
  );
}

/** Numbers all calls of this process: event ids must differ. */
let calls = 0;

/** Waits until no job waits or is worked on. */
async function untilDrained(client: RedisClient): Promise<void> {
  const queue = inspectQueue({ client, keyPrefix: KEY_PREFIX, partitionCount: PARTITIONS });
  const endMs = performance.now() + DRAIN_TIMEOUT_MS;
  try {
    for (;;) {
      const counts = await queue.counts();
      if (counts.every(({ waiting, active }) => waiting + active === 0)) return;
      if (performance.now() > endMs) throw new Error('the updater did not finish its queue within two minutes');
      await sleep(DRAIN_POLL_MS);
    }
  } finally {
    await queue.close();
  }
}

type SpendingProcess = 'ranking' | 'updater' | 'user-cache' | 'records' | 'queue';

/** Returns the processor time that each process has used so far. */
async function spentBy(
  { services }: Stack,
  records: RedisClient,
  queue: RedisClient,
): Promise<Record<SpendingProcess, ProcessCost>> {
  const [ranking, updater, userCache, recordsMs, queueMs] = await Promise.all([
    spentByService(services.ranking),
    spentByService(services.updater),
    spentByService(services['user-cache']),
    spentByRedis(records),
    spentByRedis(queue),
  ]);
  return { ranking, updater, 'user-cache': userCache, records: { cpuMs: recordsMs }, queue: { cpuMs: queueMs } };
}

async function spentByService(replicas: readonly ServiceProcess[]): Promise<ProcessCost> {
  const [service] = replicas;
  if (!service) throw new Error('a service did not start');
  const metric = await metricsOf(service);
  return { cpuMs: metric('process_cpu_seconds_total') * 1_000, mainThreadMs: mainThreadMs(service.pid) };
}

/** Returns the processor time of a process's first thread, where the system tells it: Linux. */
function mainThreadMs(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return undefined;
  }
}

async function spentByRedis(redis: RedisClient): Promise<number> {
  const info = await redis.info('cpu');
  const secondsOf = (kind: string) => Number(new RegExp(`^used_cpu_${kind}:(\\S+)`, 'm').exec(info)?.[1] ?? 0);
  return (secondsOf('user') + secondsOf('sys')) * 1_000;
}

async function usedMemory(redis: RedisClient): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1] ?? 0);
}

async function residentBytes(replicas: readonly ServiceProcess[]): Promise<number> {
  const [service] = replicas;
  return service ? (await metricsOf(service))('process_resident_memory_bytes') : 0;
}

async function metricsOf({ metricsAddress }: ServiceProcess): Promise<(name: string) => number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  return (name) => Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)`, 'm').exec(text)?.[1] ?? 0);
}

function difference(before: ProcessCost, after: ProcessCost): ProcessCost {
  const [from, to] = [before.mainThreadMs, after.mainThreadMs];
  return {
    cpuMs: after.cpuMs - before.cpuMs,
    mainThreadMs: from === undefined || to === undefined ? undefined : to - from,
  };
}

function divided({ cpuMs, mainThreadMs }: ProcessCost, count: number): ProcessCost {
  return { cpuMs: cpuMs / count, mainThreadMs: mainThreadMs === undefined ? undefined : mainThreadMs / count };
}

function machineText(): string {
  const [first] = cpus();
  const at = new Date().toISOString().slice(0, 16).replace('T', ' ');
  return `this machine: ${first?.model.trim() ?? 'unknown processor'}, ${cpus().length} cores, ${at} UTC`;
}
