// Two replicas of every service, and a ranking service in remote mode beside them.
import { openBundle, readServedGolden } from '@collectivekv/bundles';
import { createCollectiveKvClient } from '@collectivekv/client';
import type { ServiceProcess } from '@collectivekv/dev-stack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DEMO_BUNDLE,
  type E2eStack,
  interactionsOf,
  type OtherRanking,
  PARTITIONS,
  startE2e,
  startOtherRanking,
} from './e2e-stack.js';

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
  it('serve the scores of PyTorch for the golden requests, with a local pool and with a remote pool', async () => {
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

  it('keep the rows of every record in the order in which its interactions were sent', async () => {
    const users = Array.from({ length: 40 }, (_, i) => `exact-${i}`);
    // Each round is a job of its own for every user. Some are larger than a record's ring of recent events.
    const sizes = [1, 3, 30, 2, 60, 1];
    let from = 0;
    for (const size of sizes) {
      await e2e.client.recordInteractions(users.flatMap((userId) => interactionsOf(userId, size, from)));
      from += size;
    }
    for (const userId of users) {
      const record = await e2e.untilApplied(userId, from);
      expect(record.lifetimeCount).toBe(from);
      await e2e.expectRows(record, interactionsOf(userId, from));
    }
  });

  it('share the work: both ranking services answer, and each updater holds half of the partitions', async () => {
    for (let i = 0; i < 20; i++) await e2e.client.rank({ userId: 'x', candidateIds: ['i0001'] });
    for (const service of e2e.stack.services.ranking) {
      expect(
        await metricOf(service, /^ckv_rpc_duration_seconds_count.*RankingService\/RankStream".* (\d+)/m),
      ).toBeGreaterThan(5);
    }
    for (const service of e2e.stack.services.updater) {
      await expect
        .poll(() => metricOf(service, /^ckv_held_partitions\S* (\d+)/m), { timeout: 60_000 })
        .toBe(PARTITIONS / 2);
    }
  });

  it('lose no rank call while ranking services are stopped and killed', async () => {
    let [ranking, answered] = [true, 0];
    const callers = Array.from({ length: 8 }, async (_, i) => {
      while (ranking) {
        await e2e.client.rank({ userId: `caller-${i}`, candidateIds: ['i0001', 'i0002'] }, { timeoutMs: 10_000 });
        answered++;
      }
    });
    const all = Promise.all(callers);
    all.catch(() => undefined); // awaited below
    try {
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        for (const service of e2e.stack.services.ranking) {
          const before = answered;
          await service.kill(signal);
          await service.restart();
          await service.untilReady(20_000);
          await expect.poll(() => answered, { timeout: 60_000 }).toBeGreaterThan(before);
        }
      }
    } finally {
      ranking = false;
    }
    await all;
  });

  it('store a retried event once', async () => {
    const [one] = interactionsOf('twice', 1);
    if (!one) throw new Error('no interaction');
    await e2e.client.recordInteractions([one]);
    await e2e.untilApplied('twice', 1);
    await e2e.client.recordInteractions([one, { ...one, eventId: 'other' }]);
    const record = await e2e.untilApplied('twice', 2);
    expect(record).toMatchObject({ positionCount: 2, lifetimeCount: 2 });
  });

  it('merge recent interactions of the request, except those that the record already holds', async () => {
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

  it('answer from a cached record only within the age that the caller allows', async () => {
    const client = createCollectiveKvClient({ rankingTarget: remote.address });
    await e2e.client.recordInteractions(interactionsOf('stale', 3));
    await e2e.untilApplied('stale', 3);
    await client.rank({ userId: 'stale', candidateIds: ['i0001'], maxStalenessMs: 3_600_000 });
    await e2e.client.recordInteractions(interactionsOf('stale', 2, 3));
    await e2e.untilApplied('stale', 5);
    const copy = await client.rank({ userId: 'stale', candidateIds: ['i0001'], maxStalenessMs: 3_600_000 });
    expect(copy.info.positionCount).toBe(3);
    expect(copy.info.recordAgeMs).toBeGreaterThan(0);
    const fresh = await client.rank({ userId: 'stale', candidateIds: ['i0001'] });
    expect(fresh.info).toMatchObject({ positionCount: 5, recordAgeMs: 0 });
    client.close();
  });

  it('rank for many users in one call, and return an error for a bad request alone', async () => {
    await e2e.client.recordInteractions(interactionsOf('many', 5));
    await e2e.untilApplied('many', 5);
    const candidateIds = ['i0003', 'i0001'];
    const [first, bad, cold] = await e2e.client.rankMany([
      { userId: 'many', candidateIds },
      { userId: 'many', candidateIds, bundleId: 'no-such-bundle' },
      { userId: 'nobody', candidateIds, topK: 1 },
    ]);
    expect(first).toMatchObject({ info: { positionCount: 5, coldUser: false } });
    expect(bad).toMatchObject({ reason: 'invalid_request', message: expect.stringContaining('inputs[1].bundleId') });
    expect(cold).toMatchObject({ info: { coldUser: true, rung: 'full' }, ranked: [{ itemId: expect.any(String) }] });
  });

  it('forget an interaction once, whether it is recent or old', async () => {
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
    await e2e.client.recordInteractions(marker); // queued behind the removals, in the same partition
    const record = await e2e.untilApplied('forgetful', 41);
    const kept = history.filter((one) => one !== old && one !== recent);
    expect(record.positionCount).toBe(39);
    await e2e.expectRows(record, [...kept, ...marker]);
  });
});

async function metricOf({ metricsAddress }: ServiceProcess, pattern: RegExp): Promise<number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  return Number(pattern.exec(text)?.[1] ?? 0);
}
