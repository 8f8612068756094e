// Bundles whose rank graphs see cluster means. Their scores depend on the positions of a record alone: not on how the
// record came to have them.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openBundle, readServedGolden, type ServedCase } from '@collectivekv/bundles';
import type { InteractionInput, RankInput } from '@collectivekv/client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type E2eStack, type OtherRanking, startE2e, startOtherRanking } from './e2e-stack.js';

const BUNDLES = fileURLToPath(new URL('../fixtures/bundles', import.meta.url));

type Named = InteractionInput & { eventId: string };

let e2e: E2eStack;
let remote: OtherRanking;
let longest: ServedCase;
let maxPositions: number;
describe.each(['factored', 'factored_sim', 'residual'])('the bundle %s', (fixture) => {
  beforeAll(async () => {
    const folder = join(BUNDLES, fixture);
    const cases = await readServedGolden(await openBundle(folder));
    longest = cases.reduce((one, other) => (other.interactions.length > one.interactions.length ? other : one));
    e2e = await startE2e({}, folder);
    remote = await startOtherRanking(e2e.stack, { CKV_POOL_MODE: 'remote' });
    maxPositions = e2e.bundle.model.manifest.maxPositions;
  });
  afterAll(async () => {
    await remote?.close();
    await e2e?.close();
  });

  it('scores a record without a forgotten interaction as one that never had it', async () => {
    const history = historyOf('forgetful', 30);
    await record('forgetful', history.slice(0, 29));
    const [old, recent] = [history[3], history[27]];
    await e2e.client.forgetInteraction(old ?? fail()); // older than the ring: found by its content
    await e2e.client.forgetInteraction({ userId: 'forgetful', eventId: recent?.eventId ?? '' });
    await record('forgetful', history.slice(29), 30); // applied after the two
    const kept = history.filter((one) => one !== old && one !== recent);
    await record('kept', ofUser('kept', kept));
    const before = await scoresOf({ userId: 'kept' }, 28);
    expectClose(await scoresOf({ userId: 'forgetful' }, 28), before);
    await record('whole', ofUser('whole', history));
    expect(distance(await scoresOf({ userId: 'whole' }, 30), before)).toBeGreaterThan(1e-4);
  });

  it('scores a trimmed record as one of the newest positions', async () => {
    const history = historyOf('trimmed', maxPositions + 30);
    await record('trimmed', history);
    await record('newest', ofUser('newest', history.slice(30)));
    expectClose(
      await scoresOf({ userId: 'trimmed' }, maxPositions),
      await scoresOf({ userId: 'newest' }, maxPositions),
    );
  });

  it('scores recent interactions of the request as those of a record', async () => {
    const history = historyOf('complete', 60);
    await record('complete', history);
    await record('behind', ofUser('behind', history.slice(0, 45)));
    const recentInteractions = ofUser('behind', history).slice(40); // the record has five of them
    const wanted = await scoresOf({ userId: 'complete' }, 60);
    expectClose(await scoresOf({ userId: 'behind', recentInteractions }, 60), wanted);
    const cold = { userId: 'cold', recentInteractions: ofUser('cold', history) };
    expectClose(await scoresOf(cold, 60), wanted);
  });

  it('scores a record whose only position was forgotten as a cold user', async () => {
    const [only = fail()] = historyOf('emptied', 1);
    await record('emptied', [only]);
    const one = await scoresOf({ userId: 'emptied' }, 1);
    await e2e.client.forgetInteraction({ userId: 'emptied', eventId: only.eventId });
    await vi.waitUntil(async () => (await e2e.recordOf('emptied'))?.positionCount === 0, {
      timeout: 30_000,
      interval: 5,
    });
    const cold = await scoresOf({ userId: 'nobody' }, 0);
    expectClose(await scoresOf({ userId: 'emptied' }, 0), cold);
    expect(distance(one, cold)).toBeGreaterThan(1e-4);
  });
});

/** Returns a history of the golden interactions, repeated if they are too few. */
function historyOf(userId: string, length: number): Named[] {
  const { interactions } = longest;
  return Array.from({ length }, (_, i) => ({
    ...(interactions[i % interactions.length] ?? fail()),
    timestampMs: 1_700_000_000_000 + i,
    userId,
    eventId: `${userId}-${i}`,
  }));
}

function ofUser(userId: string, history: readonly Named[]): Named[] {
  return history.map((one, i) => ({ ...one, userId, eventId: `${userId}-${i}` }));
}

async function record(userId: string, history: readonly Named[], lifetimeCount = history.length) {
  await e2e.client.recordInteractions([...history]);
  await e2e.untilApplied(userId, lifetimeCount);
}

/** Returns the scores with a local pool. Those with a remote pool must be the same. */
async function scoresOf(input: Omit<RankInput, 'candidateIds'>, positionCount: number): Promise<number[]> {
  const { candidateIds, candidateFeatures, contextFeatures } = longest;
  const request = { ...input, candidateIds, candidateFeatures, contextFeatures };
  const [local, gathered] = await Promise.all([e2e.client.rank(request), remote.client.rank(request)]);
  for (const { info } of [local, gathered]) expect(info).toMatchObject({ rung: 'full', positionCount });
  expectClose([...gathered.scores], [...local.scores]);
  return [...local.scores];
}

function expectClose(scores: readonly number[], wanted: readonly number[]): void {
  expect(distance(scores, wanted)).toBeLessThan(1e-5);
}

function distance(scores: readonly number[], wanted: readonly number[]): number {
  expect(scores.length).toBe(wanted.length);
  return Math.max(...wanted.map((score, i) => Math.abs(score - (scores[i] ?? Number.NaN))));
}

function fail(): never {
  throw new Error('the golden requests have no such history');
}
