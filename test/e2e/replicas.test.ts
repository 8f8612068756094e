// Two replicas of every service side by side, and a ranking service in remote mode beside them.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openBundle, readServedGolden } from '@collectivekv/bundles';
import { createCollectiveKvClient } from '@collectivekv/client';
import type { ServiceProcess } from '@collectivekv/dev-stack';
import { encodeRecord, partitionOf } from '@collectivekv/domain';
import { closeRedis, connectedRedis } from '@collectivekv/redis-connection';
import { createGrpcClient } from '@collectivekv/rpc';
import { inspectQueue, openQueues, recordJobData } from '@collectivekv/update-queue';
import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DEMO_BUNDLE,
  type E2eStack,
  interactionsOf,
  type OtherRanking,
  startE2e,
  startOtherRanking,
} from './e2e-stack.js';
import { pythonWith } from './python.js';

const TEST_REDIS = { field: 'url', name: 'test', whenAway: 'wait' } as const;
let e2e: E2eStack;
let remote: OtherRanking;

beforeAll(async () => {
  e2e = await startE2e({ replicas: { pool: 2, 'user-cache': 2, ranking: 2, updater: 2 } });
  remote = await startOtherRanking(e2e.stack, { CKV_POOL_MODE: 'remote' });
});
afterAll(async () => {
  await remote?.close();
  await e2e?.close();
});

describe('two replicas of each service', () => {
  it('serve the scores of PyTorch on the golden requests, with the pool as a replica and over the network', async () => {
    const cases = await readServedGolden(await openBundle(DEMO_BUNDLE));
    expect(cases.length).toBeGreaterThan(3);
    for (const [i, { interactions, candidateIds, candidateFeatures, contextFeatures, scores }] of cases.entries()) {
      const userId = `golden-${i}`;
      await e2e.client.recordInteractions(
        interactions.map((one, j) => ({ ...one, userId, eventId: `golden-${i}-${j}` })),
      );
      if (interactions.length > 0) await e2e.untilApplied(userId, interactions.length);
      for (const client of [e2e.client, remote.client]) {
        const served = await client.rank({ userId, candidateIds, candidateFeatures, contextFeatures });
        expect(served.info).toMatchObject({ rung: 'full', positionCount: interactions.length });
        const worst = Math.max(...served.scores.map((score, j) => Math.abs(score - (scores[j] ?? Number.NaN))));
        expect(worst).toBeLessThan(1e-4);
      }
    }
  });

  it('keep every record exactly as its interactions were sent', async () => {
    const users = Array.from({ length: 40 }, (_, i) => `exact-${i}`);
    // Rounds, so that each user's interactions come in many jobs, some of them larger than a ring.
    const sizes = [1, 3, 30, 2, 60, 1];
    let from = 0;
    for (const size of sizes) {
      await e2e.client.recordInteractions(users.flatMap((userId) => interactionsOf(userId, size, from)));
      from += size;
    }
    for (const userId of users) {
      const record = await e2e.untilApplied(userId, from);
      expect(record.lifetimeCount).toBe(from);
      expect(Buffer.from(record.rows).equals(Buffer.from(await e2e.rowsOf(interactionsOf(userId, from))))).toBe(true);
    }
  });

  it('share the work: both rankings answer, both updaters hold partitions', async () => {
    for (let i = 0; i < 20; i++) await e2e.client.rank({ userId: 'x', candidateIds: ['i0001'] });
    for (const service of e2e.stack.services.ranking) {
      expect(
        await metricOf(service, /^ckv_rpc_duration_seconds_count.*RankingService\/RankStream".* (\d+)/m),
      ).toBeGreaterThan(5);
    }
    for (const service of e2e.stack.services.updater) {
      await expect.poll(() => metricOf(service, /^ckv_held_partitions\S* (\d+)/m), { timeout: 10_000 }).toBe(8);
    }
  });

  it('lose no rank call while rankings leave and die', async () => {
    let [ranking, answered] = [true, 0];
    const callers = Array.from({ length: 8 }, async (_, i) => {
      while (ranking) {
        await e2e.client.rank({ userId: `caller-${i}`, candidateIds: ['i0001', 'i0002'] }, { timeoutMs: 10_000 });
        answered++;
      }
    });
    const all = Promise.all(callers);
    all.catch(() => undefined); // told of below
    try {
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        for (const service of e2e.stack.services.ranking) {
          const before = answered;
          await service.kill(signal);
          await service.restart();
          await service.untilReady(20_000);
          await expect.poll(() => answered, { timeout: 10_000 }).toBeGreaterThan(before);
        }
      }
    } finally {
      ranking = false;
    }
    await all;
  });

  it('count a retried event once', async () => {
    const [one] = interactionsOf('twice', 1);
    if (!one) throw new Error('no interaction');
    await e2e.client.recordInteractions([one]);
    await e2e.untilApplied('twice', 1);
    await e2e.client.recordInteractions([one, { ...one, eventId: 'other' }]);
    const record = await e2e.untilApplied('twice', 2);
    expect(record).toMatchObject({ positionCount: 2, lifetimeCount: 2 });
  });

  it('merge recent interactions that are not in the record yet, and only those', async () => {
    const history = interactionsOf('recent', 20);
    await e2e.client.recordInteractions(history.slice(0, 18));
    await e2e.untilApplied('recent', 18);
    const candidateIds = ['i0001', 'i0500', 'i1000'];
    const merged = await e2e.client.rank({ userId: 'recent', candidateIds, recentInteractions: history.slice(15) });
    expect(merged.info).toMatchObject({ positionCount: 20, mergedCount: 2 });
    await e2e.client.recordInteractions(history.slice(18));
    await e2e.untilApplied('recent', 20);
    const stored = await e2e.client.rank({ userId: 'recent', candidateIds, recentInteractions: history.slice(15) });
    expect(stored.info).toMatchObject({ positionCount: 20, mergedCount: 0 });
    stored.scores.forEach((score, i) => {
      expect(score).toBeCloseTo(merged.scores[i] ?? 0, 5);
    });
  });

  it('answer from a copy of the record only as old as the caller allows', async () => {
    const client = createCollectiveKvClient({ rankingTarget: remote.address });
    await e2e.client.recordInteractions(interactionsOf('stale', 3));
    await e2e.untilApplied('stale', 3);
    await client.rank({ userId: 'stale', candidateIds: ['i0001'], maxStalenessMs: 3_600_000 });
    await e2e.client.recordInteractions(interactionsOf('stale', 2, 3));
    await e2e.untilApplied('stale', 5);
    const copy = await client.rank({ userId: 'stale', candidateIds: ['i0001'], maxStalenessMs: 3_600_000 });
    expect(copy.info.positionCount).toBe(3);
    expect(copy.info.recordAgeMs).toBeGreaterThan(0);
    const anew = await client.rank({ userId: 'stale', candidateIds: ['i0001'] });
    expect(anew.info).toMatchObject({ positionCount: 5, recordAgeMs: 0 });
    client.close();
  });

  it('rank for many users, each answer for its own', async () => {
    await e2e.client.recordInteractions(interactionsOf('many', 5));
    await e2e.untilApplied('many', 5);
    const candidateIds = ['i0003', 'i0001'];
    const [first, bad, cold] = await e2e.client.rankMany([
      { userId: 'many', candidateIds },
      { userId: '', candidateIds },
      { userId: 'nobody', candidateIds, topK: 1 },
    ]);
    expect(first).toMatchObject({ info: { positionCount: 5, coldUser: false } });
    expect(bad).toMatchObject({ reason: 'invalid_request', message: expect.stringContaining('requests[1].user_id') });
    expect(cold).toMatchObject({ info: { coldUser: true, rung: 'full' }, ranked: [{ itemId: expect.any(String) }] });
  });

  it('forget one interaction, recent or old, once', async () => {
    const history = interactionsOf('forgetful', 40);
    await e2e.client.recordInteractions(history);
    await e2e.untilApplied('forgetful', 40);
    const [old, recent] = [history[3], history[38]];
    if (!old?.eventId || !recent?.eventId) throw new Error('no interaction');
    for (let i = 0; i < 2; i++) {
      await e2e.client.forgetInteraction({ eventId: recent.eventId, userId: 'forgetful' });
      await e2e.client.forgetInteraction({ ...old, eventId: old.eventId });
    }
    const marker = interactionsOf('forgetful', 1, 40);
    await e2e.client.recordInteractions(marker); // behind the removals in the same partition
    const record = await e2e.untilApplied('forgetful', 41);
    const kept = history.filter((one) => one !== old && one !== recent);
    expect(Buffer.from(record.rows).equals(Buffer.from(await e2e.rowsOf([...kept, ...marker])))).toBe(true);
  });

  it('set a poison job aside, where it is seen and retried, and go on behind it', async () => {
    const redis = await connectedRedis(e2e.stack.redisUrl, TEST_REDIS);
    const [queue] = openQueues(redis, 'ckv', 1);
    await queue?.add('record', { version: 1, interactions: [{ eventId: 'p', userId: 'poison' }] });
    const inspection = inspectQueue({ client: redis, keyPrefix: 'ckv', partitionCount: 16 });
    await expect.poll(async () => (await inspection.failed(5)).length, { timeout: 10_000 }).toBe(1);
    expect((await inspection.failed(5))[0]?.problem).toMatch(/timestampMs/);
    expect(await inspection.retry()).toBe(1);
    await expect.poll(async () => (await inspection.failed(5)).length, { timeout: 10_000 }).toBe(1);
    expect(await inspection.drop()).toBe(1);
    await inspection.close();
    await queue?.close();
    closeRedis(redis);
  });

  it("set aside one user's refused interactions, not those of others in the same job", async () => {
    const redis = await connectedRedis(e2e.stack.redisUrl, TEST_REDIS);
    const { id, layout } = e2e.bundle.model;
    const sibling = Array.from({ length: 99 }, (_, i) => `good-${i}`).find(
      (userId) => partitionOf(userId, 16) === partitionOf('bad', 16),
    );
    if (!sibling) throw new Error('no user in the same partition');
    const foreign = encodeRecord({
      bundleId: 'ffffffffffffffff',
      strideBytes: layout.strideBytes,
      lifetimeCount: 0,
      lastEventMs: 0,
      recentEvents: new Uint8Array(0),
      rows: new Uint8Array(0),
    });
    await redis.set(`ckv:{bad}:${id.slice(0, 8)}`, Buffer.from(foreign));
    const [bad, good] = [interactionsOf('bad', 30), interactionsOf(sibling, 30)];
    await e2e.client.recordInteractions(bad.flatMap((one, i) => [one, good[i] ?? one]));
    const inspection = inspectQueue({ client: redis, keyPrefix: 'ckv', partitionCount: 16 });
    await expect.poll(async () => (await inspection.failed(5)).length, { timeout: 10_000 }).toBe(1);
    const [job] = await inspection.failed(5);
    expect(job).toMatchObject({
      problem: expect.stringMatching(/^bundle_mismatch/),
      payload: { interactions: bad.map((one) => expect.objectContaining(one)) },
    });
    expect((await e2e.untilApplied(sibling, 30)).lifetimeCount).toBe(30);

    await redis.del(`ckv:{bad}:${id.slice(0, 8)}`);
    await e2e.client.recordInteractions(interactionsOf(sibling, 20, 30));
    await e2e.untilApplied(sibling, 50);
    expect(await inspection.retry()).toBe(1);
    const repaired = await e2e.untilApplied('bad', 30);
    expect(Buffer.from(repaired.rows).equals(Buffer.from(await e2e.rowsOf(bad)))).toBe(true);
    const after = await e2e.untilApplied(sibling, 50);
    expect(Buffer.from(after.rows).equals(Buffer.from(await e2e.rowsOf(interactionsOf(sibling, 50))))).toBe(true);
    await inspection.close();
    closeRedis(redis);
  });

  it('take a job from the wrong partition to its user all the same', async () => {
    const redis = await connectedRedis(e2e.stack.redisUrl, TEST_REDIS);
    const queues = openQueues(redis, 'ckv', 16);
    const jobs = queues.map((queue, i) =>
      queue.add(
        'record',
        recordJobData(interactionsOf('astray', 1, i).map((one) => ({ action: '', features: {}, ...one }) as never)),
      ),
    );
    await Promise.all(jobs);
    expect((await e2e.untilApplied('astray', 16)).positionCount).toBe(16);
    await Promise.all(queues.map((queue) => queue.close()));
    closeRedis(redis);
  });
});

const python = pythonWith('grpc, grpc_tools, bullmq');

describe.skipIf(!python)('Python', () => {
  it('pushes an interaction job with its own BullMQ package, and ranks as the TypeScript client does', async () => {
    const script = fileURLToPath(new URL('./python_client.py', import.meta.url));
    const protos = fileURLToPath(new URL('../../proto', import.meta.url));
    const run = spawnSync(
      python ?? '',
      [script, protos, e2e.stack.redisUrl, e2e.stack.targets.ranking.split(',')[0] ?? ''],
      {
        encoding: 'utf8',
      },
    );
    expect(run.stderr).toBe('');
    const answer = JSON.parse(run.stdout) as { scores: number[]; streamed: number[][]; positions: number };
    expect(answer.positions).toBe(20);
    expect(answer.streamed).toEqual([answer.scores, answer.scores]);
    const own = await e2e.client.rank({ userId: 'py', candidateIds: ['i0001', 'i0002', 'i0003'] });
    expect(own.info.positionCount).toBe(20);
    answer.scores.forEach((score, i) => {
      expect(score).toBeCloseTo(own.scores[i] ?? 0, 6);
    });
  });
});

async function metricOf({ metricsAddress }: ServiceProcess, pattern: RegExp): Promise<number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  return Number(pattern.exec(text)?.[1] ?? 0);
}

// A client of the gRPC contract that is not ours: it sees what a stranger sees.
describe('a stranger', () => {
  it('finds health and reflection on every service', async () => {
    for (const target of Object.values(e2e.stack.targets)) {
      const Health = makeGenericClientConstructor(healthService, 'Health');
      const health = new Health(target.split(',')[0] ?? '', credentials.createInsecure());
      const status = await new Promise((resolve, reject) => {
        (
          health.check as (request: object, done: (error: Error | null, answer: { status: string }) => void) => void
        ).call(health, { service: '' }, (error, answer) => (error ? reject(error) : resolve(answer.status)));
      });
      expect(status).toMatch(/^(SERVING|1)$/);
      health.close();
    }
    const pool = createGrpcClient('PoolService', e2e.stack.targets.pool);
    expect((await pool.call('Describe', { bundleId: '' })).bundleId).toBe(e2e.bundle.model.id);
    pool.close();
  });
});
