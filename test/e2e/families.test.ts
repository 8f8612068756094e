// One small bundle of every model family, each served by a stack of its own: the scores of PyTorch, from the queue and
// from the request, with the pool as a replica and over the network.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openBundle, readServedGolden, type ServedCase } from '@collectivekv/bundles';
import type { CollectiveKvClient, InteractionInput, RankInput } from '@collectivekv/client';
import { encodeRecord, partitionOf } from '@collectivekv/domain';
import { closeRedis, connectedRedis } from '@collectivekv/redis-connection';
import { inspectQueue } from '@collectivekv/update-queue';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type E2eStack, type OtherRanking, startE2e, startOtherRanking } from './e2e-stack.js';

const BUNDLES = fileURLToPath(new URL('../fixtures/bundles', import.meta.url));
const families = existsSync(BUNDLES) ? readdirSync(BUNDLES).filter((name) => !name.startsWith('.')) : [];

it.runIf(existsSync(BUNDLES))('there are bundles to serve', () => {
  expect(families).not.toEqual([]);
});

describe.each(families)('%s', (family) => {
  let e2e: E2eStack;
  let remote: OtherRanking;
  let cases: ServedCase[];
  let maxPositions: number;
  beforeAll(async () => {
    const bundleDir = join(BUNDLES, family);
    cases = await readServedGolden(await openBundle(bundleDir));
    e2e = await startE2e({}, bundleDir);
    remote = await startOtherRanking(e2e.stack, { CKV_POOL_MODE: 'remote' });
    maxPositions = e2e.bundle.model.manifest.maxPositions;
  });
  afterAll(async () => {
    await remote?.close();
    await e2e?.close();
  });

  it('gives the scores of PyTorch for what was queued', async () => {
    expect(cases.length).toBeGreaterThan(1);
    await record(cases.map((one, i) => historyOf(one, `golden-${i}`)));
    for (const [i, one] of cases.entries()) {
      await expectScores(one, { userId: `golden-${i}` }, { positionCount: positionsOf(one), mergedCount: 0 });
    }
  });

  it('gives them where the last interactions come with the request', async () => {
    const lastCounts = cases.map(({ interactions }, i) => Math.min(interactions.length, 3 + 4 * i, 100));
    const histories = cases.map((one, i) => historyOf(one, `recent-${i}`));
    await record(histories.map((history, i) => history.slice(0, history.length - (lastCounts[i] ?? 0))));
    for (const [i, one] of cases.entries()) {
      // Two that the record has already come once more.
      const known = Math.max(0, one.interactions.length - (lastCounts[i] ?? 0) - 2);
      const recentInteractions = histories[i]?.slice(known).slice(-100) ?? [];
      const input = { userId: `recent-${i}`, recentInteractions };
      await expectScores(one, input, { positionCount: positionsOf(one), mergedCount: lastCounts[i] ?? 0 });
    }
  });

  it('has the same record whichever jobs brought it, with repeats, and an updater killed in between', async ({
    skip,
  }) => {
    skip(!e2e.bundle.model.encodesWithHistory, 'its rows depend on nothing before them');
    const known = cases.flatMap(({ interactions }) => interactions);
    // Longer than a record can be: the last ones are encoded behind trimmed histories.
    const interactions = Array.from({ length: maxPositions + 20 }, (_, i) => known[i % known.length] ?? fail());
    const users = Array.from({ length: 8 }, (_, i) => `mortal-${i}`);
    const [updater] = e2e.stack.services.updater;
    const sizes = [1, 2, 14, 5, 1, 30, 3, 16];
    const sent = users.map(async (userId, i) => {
      const history = historyOf({ interactions }, userId);
      for (let from = 0, round = i; from < history.length; round++) {
        const to = from + (sizes[round % sizes.length] ?? 1);
        await e2e.client.recordInteractions(history.slice(Math.max(0, from - 1), to)); // one of them for the second time
        from = to;
      }
    });
    await vi.waitUntil(async () => (await e2e.recordOf(users[0] ?? '')) !== undefined, { interval: 1 });
    await updater?.kill();
    await updater?.restart();
    await Promise.all(sent);
    const wanted = Buffer.from(await e2e.rowsOf(historyOf({ interactions }, '')));
    for (const userId of users) {
      const { lifetimeCount, rows, strideBytes } = await e2e.untilApplied(userId, interactions.length);
      expect(lifetimeCount).toBe(interactions.length);
      expect(Buffer.from(rows).equals(wanted.subarray(-maxPositions * strideBytes)), userId).toBe(true);
    }
  });

  it('begins anew where a record cannot be read, and refuses what cannot be appended without harm to others', async ({
    skip,
  }) => {
    skip(!e2e.bundle.model.encodesWithHistory, 'its rows depend on nothing before them');
    const redis = await connectedRedis(e2e.stack.redisUrl, { field: 'url', name: 'test', whenAway: 'wait' });
    const { id, layout } = e2e.bundle.model;
    const foreign = encodeRecord({
      bundleId: 'f'.repeat(16),
      strideBytes: layout.strideBytes,
      lifetimeCount: 0,
      lastEventMs: 0,
      recentEvents: new Uint8Array(0),
      rows: new Uint8Array(0),
    });
    const keyOf = (userId: string) => `ckv:{${userId}}:${id.slice(0, 8)}`;
    // All in one partition, so that their interactions share a job.
    const partition = partitionOf('refused', 16);
    const [unreadable = '', sound = ''] = Array.from({ length: 99 }, (_, i) => `neighbour-${i}`).filter(
      (userId) => partitionOf(userId, 16) === partition,
    );
    await redis.set(keyOf('refused'), Buffer.from(foreign));
    await redis.set(keyOf(unreadable), 'no record');
    const first = cases.find(({ interactions }) => interactions.length > 15) ?? fail();
    const histories = ['refused', unreadable, sound].map((userId) => historyOf(first, userId).slice(0, 30));
    await e2e.client.recordInteractions(histories.flat());
    const wanted = Buffer.from(await e2e.rowsOf(histories[2] ?? []));
    for (const userId of [unreadable, sound]) {
      const { rows } = await e2e.untilApplied(userId, histories[0]?.length ?? 0);
      expect(Buffer.from(rows).equals(wanted.subarray(-maxPositions * layout.strideBytes)), userId).toBe(true);
    }
    const inspection = inspectQueue({ client: redis, keyPrefix: 'ckv', partitionCount: 16 });
    await expect.poll(async () => (await inspection.failed(5)).length, { timeout: 10_000 }).toBe(1);
    expect(await inspection.failed(5)).toMatchObject([
      { problem: expect.stringMatching(/^bundle_mismatch/), payload: { interactions: histories[0] } },
    ]);
    await inspection.close();
    closeRedis(redis);
  });

  function positionsOf({ interactions }: ServedCase): number {
    return Math.min(interactions.length, maxPositions);
  }

  /** Queues histories, and waits until they are in their records. */
  async function record(histories: readonly InteractionInput[][]): Promise<void> {
    const begun = histories.filter((history) => history.length > 0);
    await Promise.all(begun.map((history) => e2e.client.recordInteractions(history)));
    for (const history of begun) await e2e.untilApplied(history[0]?.userId ?? '', history.length);
  }

  async function expectScores(
    { candidateIds, candidateFeatures, contextFeatures, scores, name }: ServedCase,
    input: Pick<RankInput, 'userId' | 'recentInteractions'>,
    counts: { positionCount: number; mergedCount: number },
  ): Promise<void> {
    const clients: [string, CollectiveKvClient][] = [
      ['replica', e2e.client],
      ['remote', remote.client],
    ];
    for (const [mode, client] of clients) {
      const served = await client.rank({ ...input, candidateIds, candidateFeatures, contextFeatures });
      expect(served.info, `${name}, ${mode}`).toMatchObject({ rung: 'full', ...counts });
      const worst = Math.max(...served.scores.map((score, i) => Math.abs(score - (scores[i] ?? Number.NaN))));
      expect(worst, `${name}, ${mode}`).toBeLessThan(1e-4);
    }
  }
});

/** A golden history as a user's, its events named for their places. */
function historyOf({ interactions }: Pick<ServedCase, 'interactions'>, userId: string): InteractionInput[] {
  return interactions.map((one, i) => ({ ...one, userId, eventId: `${userId}-${i}` }));
}

function fail(): never {
  throw new Error('the golden requests have no such history');
}
