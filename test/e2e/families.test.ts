// A small bundle of every model family, each served by its own stack. Scores equal those of PyTorch, whether
// interactions come from the queue or with the request, and whether the pool is local or remote.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openBundle, readServedGolden, type ServedCase } from '@collectivekv/bundles';
import type { CollectiveKvClient, InteractionInput, RankInput } from '@collectivekv/client';
import { partitionOf } from '@collectivekv/domain';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  type E2eStack,
  foreignRecord,
  keyOf,
  type OtherRanking,
  PARTITIONS,
  startE2e,
  startOtherRanking,
  usersOfPartition,
  withQueue,
} from './e2e-stack.js';

const BUNDLES = fileURLToPath(new URL('../fixtures/bundles', import.meta.url));
const families = readdirSync(BUNDLES).filter((name) => !name.startsWith('.'));

it('has a bundle of at least one family', () => {
  expect(families).not.toEqual([]);
});

describe.each(families)('the family %s', (family) => {
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

  it('gives the scores of PyTorch for queued interactions', async () => {
    expect(cases.length).toBeGreaterThan(1);
    await record(cases.map((one, i) => historyOf(one, `golden-${i}`)));
    for (const [i, one] of cases.entries()) {
      await expectScores(one, { userId: `golden-${i}` }, { positionCount: positionsOf(one), mergedCount: 0 });
    }
  });

  it('gives the scores of PyTorch if the newest interactions come with the request', async () => {
    const lastCounts = cases.map(({ interactions }, i) => Math.min(interactions.length, 3 + 4 * i, 100));
    const histories = cases.map((one, i) => historyOf(one, `recent-${i}`));
    await record(histories.map((history, i) => history.slice(0, history.length - (lastCounts[i] ?? 0))));
    for (const [i, one] of cases.entries()) {
      // The request repeats two interactions that the record already has.
      const known = Math.max(0, one.interactions.length - (lastCounts[i] ?? 0) - 2);
      const recentInteractions = histories[i]?.slice(known).slice(-100) ?? [];
      const input = { userId: `recent-${i}`, recentInteractions };
      await expectScores(one, input, { positionCount: positionsOf(one), mergedCount: lastCounts[i] ?? 0 });
    }
  });

  it('builds the same record from any split into jobs, with repeats and a killed updater', async ({ skip }) => {
    skip(!e2e.bundle.model.encodesWithHistory, 'its rows do not depend on earlier interactions');
    const known = cases.flatMap(({ interactions }) => interactions);
    // Longer than a record may be: the newest interactions are encoded behind a trimmed history.
    const interactions = Array.from({ length: maxPositions + 20 }, (_, i) => known[i % known.length] ?? fail());
    const users = Array.from({ length: 8 }, (_, i) => `mortal-${i}`);
    const [updater] = e2e.stack.services.updater;
    const sizes = [1, 2, 14, 5, 1, 30, 3, 16];
    const sent = users.map(async (userId, i) => {
      const history = historyOf({ interactions }, userId);
      for (let from = 0, round = i; from < history.length; round++) {
        const to = from + (sizes[round % sizes.length] ?? 1);
        await e2e.client.recordInteractions(history.slice(Math.max(0, from - 1), to)); // repeats one interaction
        from = to;
      }
    });
    await vi.waitUntil(async () => (await e2e.recordOf(users[0] ?? '')) !== undefined, {
      timeout: 60_000,
      interval: 1,
    });
    await updater?.kill();
    await updater?.restart();
    await Promise.all(sent);
    for (const userId of users) {
      const record = await e2e.untilApplied(userId, interactions.length);
      expect(record.lifetimeCount).toBe(interactions.length);
      await e2e.expectRows(record, historyOf({ interactions }, userId));
    }
  });

  it('replaces an unreadable record, and sets a refused append aside without harm to other users', async ({ skip }) => {
    skip(!e2e.bundle.model.encodesWithHistory, 'its rows do not depend on earlier interactions');
    const { model } = e2e.bundle;
    // All users are in one partition, so that their interactions share a job.
    const [unreadable = '', sound = ''] = usersOfPartition(partitionOf('refused', PARTITIONS), 2, 'neighbour');
    const first = cases.find(({ interactions }) => interactions.length > 15) ?? fail();
    const of = (userId: string) => historyOf(first, userId).slice(0, 30);
    await withQueue(e2e, async ({ inspection, redis }) => {
      await redis.set(keyOf(model, 'refused'), foreignRecord(model));
      await redis.set(keyOf(model, unreadable), 'no record');
      await e2e.client.recordInteractions(['refused', unreadable, sound].flatMap(of));
      for (const userId of [unreadable, sound]) {
        await e2e.expectRows(await e2e.untilApplied(userId, of(userId).length), of(userId));
      }
      await expect.poll(async () => (await inspection.failed(5)).length, { timeout: 60_000 }).toBe(1);
      expect(await inspection.failed(5)).toMatchObject([
        { problem: expect.stringMatching(/^encoding_mismatch/), payload: { interactions: of('refused') } },
      ]);
    });
  });

  function positionsOf({ interactions }: ServedCase): number {
    return Math.min(interactions.length, maxPositions);
  }

  /** Queues histories, and waits until they are in records. */
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
      ['local pool', e2e.client],
      ['remote pool', remote.client],
    ];
    for (const [mode, client] of clients) {
      const served = await client.rank({ ...input, candidateIds, candidateFeatures, contextFeatures });
      expect(served.info, `${name}, ${mode}`).toMatchObject({ rung: 'full', ...counts });
      const worst = Math.max(...served.scores.map((score, i) => Math.abs(score - (scores[i] ?? Number.NaN))));
      expect(worst, `${name}, ${mode}`).toBeLessThan(1e-4);
    }
  }
});

/** Returns a golden history as a user's. An event id ends with the event's index. */
function historyOf({ interactions }: Pick<ServedCase, 'interactions'>, userId: string): InteractionInput[] {
  return interactions.map((one, i) => ({ ...one, userId, eventId: `${userId}-${i}` }));
}

function fail(): never {
  throw new Error('the golden requests have no history of this length');
}
