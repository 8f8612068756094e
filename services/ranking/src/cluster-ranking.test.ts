// Scores of bundles whose rank graphs see cluster means. They depend on the positions of a record, not on how the
// record came to have them.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle, loadBundle, readServedGolden, type ServedCase } from '@collectivekv/bundles';
import type { GatherRequest } from '@collectivekv/contracts';
import { encodeRecord, eventHash, type Interaction, integers, type Tensors } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import { packIds } from '@collectivekv/rpc';
import { createMemoryUserStore, type UserStore } from '@collectivekv/user-store';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPoolRows, type PoolRows } from './attention/pool-rows.js';
import type { HistoryPolicy } from './rank-query.js';
import { createRanker, type RankAnswer } from './ranker.js';

const BUNDLES = fileURLToPath(new URL('../../../test/fixtures/bundles', import.meta.url));
/** Rows of the longest append. */
const WAVE = 14;

let engine: Engine;
let bundle: LoadedBundle;
let poolRows: PoolRows;
let longest: ServedCase;
let store: UserStore;
describe.each(['factored', 'factored_sdim', 'factored_sim'])('the bundle %s', (fixture) => {
  beforeAll(async () => {
    engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
    bundle = await loadBundle(join(BUNDLES, fixture), engine, {
      graphs: ['encode', 'rank', 'rankKv', 'gather'],
      verifyGolden: true,
      poolTables: true,
    });
    poolRows = createPoolRows({ call: gather } as unknown as Parameters<typeof createPoolRows>[0]);
    const cases = await readServedGolden(bundle);
    longest = cases.reduce((one, other) => (other.interactions.length > one.interactions.length ? other : one));
  });
  afterAll(() => engine.close());
  beforeEach(() => {
    store = createMemoryUserStore();
  });

  it('gives the scores of PyTorch, with pool tables and with gathered rows', async () => {
    const { interactions } = longest;
    await append('u', historyOf(interactions.length));
    expectClose(await scoresOf('u', interactions.length), longest.scores, 1e-4);
  });

  it('scores a record without deleted positions as one that never had them', async () => {
    const history = historyOf(30);
    await append('u', history);
    const [old, recent] = [history[3] ?? fail(), history[28] ?? fail()];
    const match = { eventHash: eventHash(old.eventId), row: await encodeRows(bundle, [old]), tolerance: Buffer.of() };
    expect(await store.deletePosition(bundle.model.encodingId, 'u', match)).toMatchObject({ deleted: true });
    const byEvent = { eventHash: eventHash(recent.eventId), row: Buffer.of(), tolerance: Buffer.of() };
    expect(await store.deletePosition(bundle.model.encodingId, 'u', byEvent)).toMatchObject({ deleted: true });
    await replace('afresh', without(history, [old, recent]));
    await replace('whole', history);
    const scores = await scoresOf('u', 28);
    expectClose(scores, await scoresOf('afresh', 28));
    expect(distance(scores, await scoresOf('whole', 30))).toBeGreaterThan(1e-5);
  });

  it('scores a trimmed record as one of the newest positions', async () => {
    const { maxPositions } = bundle.model.manifest;
    const history = historyOf(maxPositions + 30);
    await append('u', history);
    await replace('afresh', history.slice(30));
    const scores = await scoresOf('u', maxPositions);
    expectClose(scores, await scoresOf('afresh', maxPositions));
    await replace('oldest', history.slice(0, maxPositions));
    expect(distance(scores, await scoresOf('oldest', maxPositions))).toBeGreaterThan(1e-5);
  });

  it.each([0, 45])('scores recent interactions behind a record of %i as those of one record', async (stored) => {
    const history = historyOf(60);
    if (stored > 0) await append('u', history.slice(0, stored));
    await replace('afresh', history);
    const recent = history.slice(Math.max(0, stored - 5)); // the record has five of them
    expectClose(await scoresOf('u', 60, recent), await scoresOf('afresh', 60));
  });

  it('scores a record without positions as a cold user', async () => {
    const [only = fail()] = historyOf(1);
    await append('u', [only]);
    const one = await scoresOf('u', 1);
    const match = { eventHash: eventHash(only.eventId), row: Buffer.of(), tolerance: Buffer.of() };
    await store.deletePosition(bundle.model.encodingId, 'u', match);
    const none = await scoresOf('u', 0);
    expectClose(none, await scoresOf('nobody', 0));
    expect(distance(one, none)).toBeGreaterThan(1e-5);
  });

  it('answers without a record whose routes are beyond the pool, unless the caller requires history', async () => {
    const { encodingId, layout } = bundle.model;
    const rows = Buffer.alloc(20 * layout.strideBytes, 255);
    const header = { encodingId, strideBytes: layout.strideBytes, lifetimeCount: 20, lastEventMs: 1 };
    await store.replaceRecord(encodingId, 'u', encodeRecord({ ...header, recentEvents: Buffer.of(), rows }));
    const none = await scoresOf('nobody', 0);
    for (const answer of await Promise.all(rankBoth('u'))) {
      expect(answer).toMatchObject({ rung: 'no_history', rungReason: 'record_corrupt', positionCount: 0 });
      expectClose([...answer.scores], none);
    }
    const required = rankBoth('u', { historyPolicy: 'required' });
    for (const { reason } of (await Promise.allSettled(required)) as PromiseRejectedResult[]) {
      expect(reason).toMatchObject({
        reason: 'record_corrupt',
        message: expect.stringMatching(/is 255, the pool has/),
      });
    }
  });
});

/** Returns the golden interactions, repeated if they are too few. */
function historyOf(length: number): Interaction[] {
  const { interactions } = longest;
  return Array.from({ length }, (_, i) => ({
    ...(interactions[i % interactions.length] ?? fail()),
    userId: 'u',
    eventId: `e${i}`,
  }));
}

function without(history: readonly Interaction[], removed: readonly Interaction[]): Interaction[] {
  return history.filter((one) => !removed.includes(one));
}

async function append(userId: string, history: readonly Interaction[]): Promise<void> {
  const { encodingId, layout, manifest } = bundle.model;
  const shape = { encodingId, strideBytes: layout.strideBytes, maxPositions: manifest.maxPositions };
  for (let from = 0; from < history.length; from += WAVE) {
    const wave = history.slice(from, from + WAVE);
    const eventHashes = Buffer.concat(wave.map(({ eventId }) => eventHash(eventId)));
    await store.appendPositions(shape, [
      { userId, eventHashes, rows: await encodeRows(bundle, wave), lastEventMs: from + 1 },
    ]);
  }
}

/** Stores a record that was made at once. */
async function replace(userId: string, history: readonly Interaction[]): Promise<void> {
  const { encodingId, layout } = bundle.model;
  const record = encodeRecord({
    encodingId,
    strideBytes: layout.strideBytes,
    lifetimeCount: history.length,
    lastEventMs: 1,
    recentEvents: Buffer.concat(history.slice(-WAVE).map(({ eventId }) => eventHash(eventId))),
    rows: await encodeRows(bundle, history),
  });
  await store.replaceRecord(encodingId, userId, record);
}

/** Returns the scores with pool tables. Those with gathered rows must be the same. */
async function scoresOf(userId: string, positionCount: number, recent: readonly Interaction[] = []): Promise<number[]> {
  const [fromTables, fromRows] = await Promise.all(rankBoth(userId, { recent }));
  for (const answer of [fromTables, fromRows]) expect(answer).toMatchObject({ rung: 'full', positionCount });
  const scores = [...(fromTables?.scores ?? [])];
  expectClose([...(fromRows?.scores ?? [])], scores);
  return scores;
}

interface Asked {
  readonly recent?: readonly Interaction[];
  readonly historyPolicy?: HistoryPolicy;
}

/** Ranks with pool tables, and with gathered rows. */
function rankBoth(userId: string, { recent = [], historyPolicy = 'preferred' }: Asked = {}): Promise<RankAnswer>[] {
  const { candidateIds, candidateFeatures, contextFeatures } = longest;
  const columns = (features: Readonly<Record<string, readonly number[] | number>>) =>
    Object.entries(features).map(([name, values]) => ({ name, values: Float32Array.from([values].flat()) }));
  const query = {
    userId,
    candidateIds: packIds(candidateIds, 'candidate_ids'),
    candidateFeatures: columns(candidateFeatures),
    contextFeatures: columns(contextFeatures),
    recentInteractions: recent,
    maxStalenessMs: 0,
    topK: 0,
    bundleId: '',
    historyPolicy,
    captureId: '',
    explain: false,
  } as const;
  const records = {
    get: async () => {
      const [bytes] = await store.getRecords(bundle.model.encodingId, [userId]);
      return { bytes, ageMs: 0 };
    },
  };
  const bundles = { serving: () => ({ bundle, canaryShareBp: 0 }), get: () => bundle, hold: () => () => undefined };
  return [undefined, poolRows].map((rows) =>
    createRanker({
      bundles,
      records,
      poolRows: rows,
      partCandidates: 0,
      othersWait: () => false,
    }).rank(query, {
      deadlineMs: Date.now() + 20_000,
      signal: new AbortController().signal,
    }),
  );
}

/** Gathers as the pool service does, from the same bundle. */
async function gather(_: 'Gather', { group, keySlots, valueSlots }: GatherRequest) {
  const asked: Record<string, Uint8Array | string | undefined> = {
    [`${group}_key_slots`]: keySlots,
    [`${group}_value_slots`]: valueSlots,
  };
  const feeds = bundle.model.manifest.graphs.gather.inputs.map(({ name }) => {
    const slots = new Int32Array(Uint8Array.from(Buffer.from(asked[name] ?? [])).buffer);
    return [name, integers('int64', slots, [slots.length])] as const;
  });
  const outputs: Tensors = await bundle.graphs.run('gather', Object.fromEntries(feeds));
  const bytesOf = (name: string) => Buffer.from(Float32Array.from((outputs[name]?.data ?? []) as Float32Array).buffer);
  return {
    bundleId: bundle.model.id,
    keyRows: bytesOf(`${group}_key_rows`),
    valueRows: bytesOf(`${group}_value_rows`),
  };
}

function expectClose(scores: readonly number[], wanted: readonly number[], tolerance = 1e-5): void {
  expect(distance(scores, wanted)).toBeLessThan(tolerance);
}

function distance(scores: readonly number[], wanted: readonly number[]): number {
  expect(scores.length).toBe(wanted.length);
  return Math.max(...wanted.map((score, i) => Math.abs(score - (scores[i] ?? Number.NaN))));
}

function fail(): never {
  throw new Error('the golden requests have no such history');
}
