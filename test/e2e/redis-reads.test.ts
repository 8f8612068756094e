// ranking that reads records from Redis itself: the same answers, with no need of the user-cache.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let e2e: E2eStack;
const candidateIds = ['i0001', 'i0002', 'i0003'];
beforeAll(async () => {
  e2e = await startE2e({ env: { ranking: { CKV_RECORD_READS: 'redis' } } });
  await e2e.client.recordInteractions(interactionsOf('u', 30));
  await e2e.untilApplied('u', 30);
});
afterAll(() => e2e?.close());

const rank = () => e2e.client.rank({ userId: 'u', candidateIds });

it('ranks with history while the user-cache is away', async () => {
  const before = await rank();
  await e2e.stack.services['user-cache'][0]?.kill();
  const { info, scores } = await rank();
  expect(info).toMatchObject({ rung: 'full', positionCount: 30, coldUser: false });
  expect(scores).toEqual(before.scores);
  expect((await e2e.client.rank({ userId: 'nobody', candidateIds })).info).toMatchObject({ coldUser: true });
});

it('ranks without history while Redis is away, and with it again afterwards', async () => {
  await e2e.stack.redis?.kill();
  expect((await rank()).info).toMatchObject({ rung: 'no_history', rungReason: 'dependency_unavailable' });
  const demanded = e2e.client.rank({ userId: 'u', candidateIds, history: 'required' }, { timeoutMs: 500 });
  await expect(demanded).rejects.toMatchObject({ reason: expect.stringMatching(/dependency_unavailable|deadline/) });
  await e2e.stack.restartRedis();
  await expect
    .poll(async () => (await rank()).info, { timeout: 20_000 })
    .toMatchObject({ rung: 'full', positionCount: 30 });
});
