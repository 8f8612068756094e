// Parts of the system fail. Ranking answers on a lower rung, reports the rung, and recovers. It does so whether it
// reads records from Redis or through the user-cache.
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type E2eStack, interactionsOf, type OtherRanking, startE2e, startOtherRanking } from './e2e-stack.js';

let e2e: E2eStack;
let other: OtherRanking;
const clients: CollectiveKvClient[] = []; // without retries, so that a failure is visible
const candidateIds = ['i0001', 'i0002', 'i0003'];
beforeAll(async () => {
  e2e = await startE2e();
  other = await startOtherRanking(e2e.stack, { CKV_RECORD_READS: 'user-cache' });
  for (const rankingTarget of [e2e.stack.targets.ranking, other.address]) {
    clients.push(createCollectiveKvClient({ rankingTarget, rankTimeoutMs: 10_000, maxAttempts: 1 }));
  }
  await e2e.client.recordInteractions(interactionsOf('u', 30));
  await e2e.untilApplied('u', 30);
});
afterAll(async () => {
  for (const client of clients) client.close();
  await other?.close();
  await e2e?.close();
});

/** Returns the client of the ranking service that reads records from Redis (the default) or through the user-cache. */
const through = (reads: 'redis' | 'user-cache'): CollectiveKvClient => clients[reads === 'redis' ? 0 : 1] ?? e2e.client;

const rank = (client: CollectiveKvClient) => client.rank({ userId: 'u', candidateIds });
const rankFull = (client: CollectiveKvClient = e2e.client) =>
  expect
    .poll(async () => (await rank(client)).info, { timeout: 60_000 })
    .toMatchObject({ rung: 'full', positionCount: 30 });
const everybodyRanksFull = () => Promise.all(clients.map(rankFull));
const userCache = () => e2e.stack.services['user-cache'][0];

describe.each([
  ['Redis', 'redis', () => e2e.stack.redis?.kill(), () => e2e.stack.restartRedis()],
  ['Redis', 'user-cache', () => e2e.stack.redis?.kill(), () => e2e.stack.restartRedis()],
  ['user-cache', 'user-cache', () => userCache()?.kill(), () => userCache()?.restart()],
] as const)('without %s, reading through %s', (_, reads, kill, revive) => {
  beforeAll(async () => {
    await kill();
  });

  it('ranks without history and reports the reason', async () => {
    const { info, scores } = await rank(through(reads));
    expect(info).toMatchObject({
      rung: 'no_history',
      rungReason: 'dependency_unavailable',
      positionCount: 0,
      coldUser: false,
    });
    const bare = await through(reads).rank({ userId: 'u', candidateIds, history: 'ignored' });
    expect(bare.scores).toEqual(scores);
  });

  it('ranks by the recent interactions of the request', async () => {
    const recentInteractions = interactionsOf('u', 3);
    const { info } = await through(reads).rank({ userId: 'u', candidateIds, recentInteractions });
    expect(info).toMatchObject({
      rung: 'recent_only',
      rungReason: 'dependency_unavailable',
      positionCount: 3,
      mergedCount: 3,
    });
  });

  it('fails if the caller requires history', async () => {
    const required = through(reads).rank({ userId: 'u', candidateIds, history: 'required' });
    await expect(required).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  });

  it('ranks with history again after the restart', async () => {
    await revive();
    await everybodyRanksFull();
  });
});

describe('without the user-cache', () => {
  it('ranks with history, and cold users too, if it reads records from Redis', async () => {
    const before = await rank(through('redis'));
    await userCache()?.kill();
    const { info, scores } = await rank(through('redis'));
    expect(info).toMatchObject({ rung: 'full', positionCount: 30, coldUser: false });
    expect(scores).toEqual(before.scores);
    const cold = await through('redis').rank({ userId: 'nobody', candidateIds });
    expect(cold.info).toMatchObject({ rung: 'full', coldUser: true });
    await userCache()?.restart();
    await everybodyRanksFull();
  });
});

describe.each(['redis', 'user-cache'] as const)('while Redis hangs, reading through %s', (reads) => {
  const signal = (name: NodeJS.Signals) => process.kill(e2e.stack.redis?.pid ?? Number.NaN, name);
  beforeAll(() => {
    signal('SIGSTOP');
  });
  afterAll(() => {
    signal('SIGCONT');
  });

  it('waits for the record until its deadline, then answers without history, or fails if history is required', async () => {
    const { info } = await rank(through(reads));
    expect(info).toMatchObject({ rung: 'no_history', rungReason: 'deadline' });
    const required = through(reads).rank({ userId: 'u', candidateIds, history: 'required' });
    await expect(required).rejects.toMatchObject({ reason: 'deadline' });
  });

  it('stops waiting when the connection is closed, and ranks with history when Redis continues', async () => {
    await expect
      .poll(async () => (await rank(through(reads))).info.rungReason, { timeout: 60_000 })
      .toBe('dependency_unavailable');
    signal('SIGCONT');
    await everybodyRanksFull();
  });
});

describe('without the pool', () => {
  it('continues to rank, and a restarted ranking service loads the bundle from its cache folder', async () => {
    const [pool] = e2e.stack.services.pool;
    const [ranking] = e2e.stack.services.ranking;
    await pool?.kill();
    await rankFull();
    await ranking?.kill();
    await ranking?.restart();
    await ranking?.untilReady();
    await rankFull();
    await pool?.restart();
  });
});

describe('a service that receives SIGTERM', () => {
  it.each(['ranking', 'user-cache', 'updater', 'pool'] as const)(
    '%s finishes its calls and jobs, and exits with 0',
    async (name) => {
      const [service] = e2e.stack.services[name];
      if (!service) throw new Error(`no ${name} service`);
      const exited = service.exited;
      const busy = Promise.allSettled(Array.from({ length: 40 }, () => e2e.client.rank({ userId: 'u', candidateIds })));
      const recorded = e2e.client.recordInteractions(interactionsOf(`stop-${name}`, 20));
      await service.kill('SIGTERM');
      expect(await exited).toBe(0);
      await service.restart();
      await service.untilReady();
      expect((await busy).filter(({ status }) => status === 'rejected')).toEqual([]);
      await recorded;
      const record = await e2e.untilApplied(`stop-${name}`, 20);
      expect(record.positionCount).toBe(20);
    },
  );
});

describe('a request that misses its deadline', () => {
  it('fails with the reason deadline', async () => {
    const late = e2e.client.rank({ userId: 'u', candidateIds }, { timeoutMs: 1 });
    await expect(late).rejects.toMatchObject({ reason: 'deadline' });
  });
});
