// Parts are away: ranking answers what it can, says so, and recovers.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let e2e: E2eStack;
const candidateIds = ['i0001', 'i0002', 'i0003'];
beforeAll(async () => {
  e2e = await startE2e();
  await e2e.client.recordInteractions(interactionsOf('u', 30));
  await e2e.untilApplied('u', 30);
});
afterAll(() => e2e?.close());

const rankFull = () =>
  expect
    .poll(async () => (await e2e.client.rank({ userId: 'u', candidateIds })).info, { timeout: 20_000 })
    .toMatchObject({ rung: 'full', positionCount: 30 });

describe.each([
  [
    'user-cache',
    () => e2e.stack.services['user-cache'][0]?.kill(),
    () => e2e.stack.services['user-cache'][0]?.restart(),
  ],
  ['Redis', () => e2e.stack.redis?.kill(), () => e2e.stack.restartRedis()],
] as const)('without %s', (_, kill, revive) => {
  beforeAll(async () => {
    await kill();
  });

  it('ranks without history and says why', async () => {
    const { info, scores } = await e2e.client.rank({ userId: 'u', candidateIds });
    expect(info).toMatchObject({
      rung: 'no_history',
      rungReason: 'dependency_unavailable',
      positionCount: 0,
      coldUser: false,
    });
    const bare = await e2e.client.rank({ userId: 'u', candidateIds, history: 'ignored' });
    expect(bare.scores).toEqual(scores);
  });

  it('ranks by the recent interactions that come with the request', async () => {
    const recentInteractions = interactionsOf('u', 3);
    const { info } = await e2e.client.rank({ userId: 'u', candidateIds, recentInteractions });
    expect(info).toMatchObject({
      rung: 'recent_only',
      rungReason: 'dependency_unavailable',
      positionCount: 3,
      mergedCount: 3,
    });
  });

  it('fails where the caller demands history', async () => {
    const demanded = e2e.client.rank({ userId: 'u', candidateIds, history: 'required' }, { timeoutMs: 500 });
    await expect(demanded).rejects.toMatchObject({ reason: expect.stringMatching(/dependency_unavailable|deadline/) });
  });

  it('ranks with history again when it is back', async () => {
    await revive();
    await rankFull();
  });
});

describe('without the pool', () => {
  it('ranks on, and a ranking service that starts takes its bundle from its folder', async () => {
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

describe('a service that is told to stop', () => {
  it.each(['ranking', 'user-cache', 'updater', 'pool'] as const)(
    '%s finishes what it began, and ends with 0',
    async (name) => {
      const [service] = e2e.stack.services[name];
      if (!service) throw new Error('no service');
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

describe('a request that cannot be served in time', () => {
  it('fails with deadline, not later', async () => {
    const late = e2e.client.rank({ userId: 'u', candidateIds }, { timeoutMs: 1 });
    await expect(late).rejects.toMatchObject({ reason: 'deadline' });
  });
});
