import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle } from '@collectivekv/bundles';
import type { GatherRequest } from '@collectivekv/contracts';
import {
  CkvError,
  createBundleModel,
  decodeRecord,
  encodeRecord,
  eventHash,
  type Interaction,
} from '@collectivekv/domain';
import { packIds } from '@collectivekv/rpc';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createPoolRows, type PoolRows } from './attention/pool-rows.js';
import type { Explainer } from './explanation/explainer.js';
import type { RankQuery } from './rank-query.js';
import { createRanker } from './ranker.js';
import type { RecordSource } from './records/record-source.js';

const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));
const MAX_POSITIONS = 6;

/**
 * A bundle with stand-ins for its graphs. Encode gives as route a hash of the item and, with history, of all routes
 * before it. Rank gives the routes of the history as scores, one for each candidate. RankKv gives the number of
 * positions as every score.
 */
function testBundle(encodesWithHistory: boolean, name = 'test'): LoadedBundle {
  const manifest = JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8'));
  const routes = { name: 'routes', role: 'routes', field: 'route', type: 'int64', shape: ['positions'] };
  if (encodesWithHistory) manifest.graphs.encode.inputs.push(routes);
  manifest.graphs.rank.inputs.push(routes);
  delete manifest.graphs.rankBatch; // it would need the new input, too
  const model = createBundleModel({
    manifestBytes: Buffer.from(JSON.stringify({ ...manifest, name, maxPositions: MAX_POSITIONS })),
    itemIds: JSON.parse(readFileSync(`${TARGET}/items.json`, 'utf8')).ids,
  });
  const keyInput = model.manifest.graphs.rankKv.inputs.find(({ role }) => role === 'key');
  const graphs: LoadedBundle['graphs'] = {
    idleWorkerCount: 1,
    mostUsers: 1,
    joinRuns: () => undefined,
    drop: async () => undefined,
    runEach: (graph, parts) => Promise.all(parts.map((feeds) => graphs.run(graph, feeds))),
    async run(graph, feeds) {
      if (graph === 'rankKv') {
        const scores = new Float32Array(MAX_POSITIONS).fill(feeds[keyInput?.name ?? '']?.shape[0] ?? -1);
        return { scores: { type: 'float32', data: scores, shape: [MAX_POSITIONS] } };
      }
      const seen = [...(feeds.routes?.data ?? [])].map(Number);
      if (graph === 'rank') {
        const scores = Float32Array.from({ length: MAX_POSITIONS }, (_, i) => seen[i] ?? -1);
        return { scores: { type: 'float32', data: scores, shape: [MAX_POSITIONS] } };
      }
      const items = [...(feeds.item_index?.data ?? [])].map(Number);
      for (const item of items) {
        const before = encodesWithHistory ? seen : [];
        seen.push(before.reduce((hash, route) => (hash * 31 + route + 1) % 251, item % 251));
      }
      const route = BigInt64Array.from(seen.slice(seen.length - items.length), BigInt);
      const code = new BigInt64Array(items.length);
      return {
        route: { type: 'int64', data: route, shape: [] },
        user_code: { type: 'int64', data: code, shape: [] },
      };
    },
    close: async () => undefined,
  };
  const manifestBytes = Buffer.alloc(0);
  const close = async () => undefined;
  return { dir: '', model, manifestBytes, graphs, splitsCandidates: false, poolTables: undefined, close };
}

const [bundleWithHistory, bundleWithout] = [testBundle(true), testBundle(false)];
let bundle = bundleWithHistory;
const interactions: Interaction[] = Array.from({ length: 9 }, (_, i) => ({
  eventId: `e${i}`,
  userId: 'u',
  itemId: `i${String(i * 7).padStart(4, '0')}`,
  timestampMs: i + 1,
  action: '',
  features: {},
}));
const query = (recentInteractions: Interaction[]): RankQuery => ({
  userId: 'u',
  candidateIds: packIds(Array(MAX_POSITIONS).fill('i0001'), 'candidate_ids'),
  candidateFeatures: [],
  contextFeatures: [],
  recentInteractions,
  maxStalenessMs: 0,
  topK: 0,
  bundleId: '',
  historyPolicy: 'preferred',
  captureId: '',
  explain: false,
});

let record: Uint8Array | undefined;
/** Why the record cannot be read, if it cannot. */
let recordFailure: CkvError | undefined;
const get = vi.fn<RecordSource['get']>();
beforeEach(() => {
  bundle = bundleWithHistory;
  record = undefined;
  recordFailure = undefined;
  get.mockReset();
  get.mockImplementation(async () => {
    if (recordFailure) throw recordFailure;
    return { bytes: record, ageMs: 0 };
  });
});
afterEach(() => {
  vi.useRealTimers();
});
const bundles = { serving: () => ({ bundle, canaryShareBp: 0 }), get: () => bundle, hold: () => () => undefined };
const limits = () => ({ deadlineMs: Date.now() + 5_000, signal: new AbortController().signal });
const explain = vi.fn<Explainer['explain']>();
const explainer = { explain };
const rank = (recent: Interaction[], overrides: Partial<RankQuery> = {}, poolRows?: PoolRows) =>
  createRanker({ bundles, records: { get }, poolRows, partCandidates: 0, othersWait: () => false, explainer }).rank(
    { ...query(recent), ...overrides },
    limits(),
  );

/** Stores the record of the first `count` interactions, and returns the scores that it gives. */
async function applied(count: number) {
  const rows = await encodeRows(bundle, interactions.slice(0, count));
  const { strideBytes } = bundle.model.layout;
  record = encodeRecord({
    encodingId: bundle.model.encodingId,
    strideBytes,
    lifetimeCount: count,
    lastEventMs: count,
    recentEvents: Buffer.concat(interactions.slice(0, count).map(({ eventId }) => eventHash(eventId))),
    rows: rows.subarray(Math.max(0, rows.length - MAX_POSITIONS * strideBytes)),
  });
  return [...(await rank([])).scores];
}

describe.each([
  ['with', bundleWithHistory],
  ['without', bundleWithout],
])('recent interactions of a bundle that encodes %s history', (_, encodingBundle) => {
  beforeEach(() => {
    bundle = encodingBundle;
  });

  it.each([
    [0, 3],
    [2, 5],
    [4, 9], // the oldest positions are dropped while they are encoded
    [6, 8],
    [9, 9],
  ])('give the scores of a record that has them: %i in the record, %i in all', async (stored, total) => {
    const wanted = await applied(total);
    await applied(stored);
    const sent = interactions.slice(Math.max(0, stored - 2), total); // the record has two of them
    const answer = await rank(sent);
    expect([...answer.scores]).toEqual(wanted);
    expect(answer).toMatchObject({ mergedCount: total - stored, positionCount: Math.min(total, MAX_POSITIONS) });
  });

  it('are encoded without a history if the record cannot be read', async () => {
    const wanted = await applied(3);
    await applied(8);
    recordFailure = new CkvError('dependency_unavailable', 'away');
    const answer = await rank(interactions.slice(0, 3));
    expect([...answer.scores]).toEqual(wanted);
    expect(answer).toMatchObject({ rung: 'recent_only', rungReason: 'dependency_unavailable', mergedCount: 3 });
  });
});

describe('an answer', () => {
  const recent = interactions.slice(2, 3);

  it('is full if the record was read or the user has none', async () => {
    expect(await rank([])).toMatchObject({ rung: 'full', rungReason: '', coldUser: true, positionCount: 0 });
    await applied(2);
    expect(await rank(recent)).toMatchObject({
      rung: 'full',
      rungReason: '',
      coldUser: false,
      positionCount: 3,
      mergedCount: 1,
      lastEventMs: 2,
    });
  });

  it.each([
    'dependency_unavailable',
    'draining',
    'overloaded',
    'deadline',
    'encoding_mismatch',
    'bundle_mismatch',
  ] as const)('is given without the record after %s, unless the caller requires history', async (reason) => {
    recordFailure = new CkvError(reason, 'no record');
    const below = { rungReason: reason, coldUser: false };
    expect(await rank([])).toMatchObject({ ...below, rung: 'no_history', positionCount: 0 });
    expect(await rank(recent)).toMatchObject({ ...below, rung: 'recent_only', positionCount: 1, mergedCount: 1 });
    await expect(rank([], { historyPolicy: 'required' })).rejects.toBe(recordFailure);
  });

  it('is given without a record that is corrupt', async () => {
    record = Uint8Array.of(1, 2, 3);
    expect(await rank([])).toMatchObject({ rung: 'no_history', rungReason: 'record_corrupt', coldUser: false });
  });

  it.each([
    ['of another encoding', () => ({ encodingId: 'f'.repeat(16) }), 'encoding_mismatch'],
    ['that names the bundle', () => ({ encodingId: bundle.model.id }), 'encoding_mismatch'],
    ['with rows of another length', () => ({ strideBytes: 1 }), 'record_corrupt'],
  ] as const)('is given without a record %s, unless the caller requires history', async (_, change, reason) => {
    await applied(2);
    const { encodingId, layout } = bundle.model;
    const sound = decodeRecord(record ?? Uint8Array.of(), { encodingId, strideBytes: layout.strideBytes });
    record = encodeRecord({ ...sound, ...change() });
    expect(await rank([])).toMatchObject({ rung: 'no_history', rungReason: reason, coldUser: false });
    expect(await rank(recent)).toMatchObject({ rung: 'recent_only', rungReason: reason, positionCount: 1 });
    await expect(rank([], { historyPolicy: 'required' })).rejects.toMatchObject({ reason });
  });

  it('never hides a bug', async () => {
    recordFailure = new CkvError('bug', 'wrong');
    await expect(rank([])).rejects.toBe(recordFailure);
  });

  it('reads no record if the caller ignores history', async () => {
    const ignored = { historyPolicy: 'ignored' } as const;
    expect(await rank([], ignored)).toMatchObject({ rung: 'no_history', rungReason: '', coldUser: false });
    expect(await rank(recent, ignored)).toMatchObject({ rung: 'recent_only', rungReason: '', positionCount: 1 });
    expect(get).not.toHaveBeenCalled();
  });

  it('is not computed for a caller that left while the record was read', async () => {
    bundle = bundleWithout;
    const run = vi.spyOn(bundle.graphs, 'runEach');
    const left: { ended?: CkvError } = {};
    get.mockImplementation(async () => {
      left.ended = new CkvError('cancelled', 'gone');
      return { bytes: undefined, ageMs: 0 };
    });
    const ranker = createRanker({ bundles, records: { get }, partCandidates: 0, othersWait: () => false });
    await expect(ranker.rank(query([]), Object.assign(left, limits()))).rejects.toThrow('gone');
    expect(run).not.toHaveBeenCalled();
    run.mockRestore();
  });

  it.each([
    ['is shared by idle workers', false, 2],
    ['is not shared by idle workers while other requests wait', true, 1],
  ])('%s', async (_, waiting, partCount) => {
    const scores = (length: number) => ({ type: 'float32', data: new Float32Array(length), shape: [length] }) as const;
    const graphs: LoadedBundle['graphs'] = {
      ...bundleWithout.graphs,
      idleWorkerCount: 2,
      runEach: async (_, parts) => parts.map(() => ({ scores: scores(MAX_POSITIONS / parts.length) })),
    };
    bundle = { ...bundleWithout, graphs, splitsCandidates: true };
    const ranker = createRanker({ bundles, records: { get }, partCandidates: 3, othersWait: () => waiting });
    expect(await ranker.rank(query([]), limits())).toMatchObject({ partCount });
  });

  it('is explained only if the query asks for it, over the positions that were attended to', async () => {
    bundle = bundleWithout;
    await applied(5);
    const explanation = { method: 'leave_one_out' as const, parts: [], groups: new Uint32Array(0), candidates: [] };
    explain.mockReset().mockResolvedValue(explanation);
    expect(await rank([])).not.toHaveProperty('explanation');
    expect(explain).not.toHaveBeenCalled();
    const answer = await rank([], { explain: true });
    expect(answer.explanation).toBe(explanation);
    const [request] = explain.mock.calls[0] ?? [];
    expect(request?.scores).toBe(answer.scores);
    expect(request?.rows.length).toBe(5 * bundle.model.layout.strideBytes);
  });

  it('reports a bad request although the record fails as well', async () => {
    recordFailure = new CkvError('bug', 'wrong');
    const bad = { contextFeatures: [{ name: 'nothing', values: Float32Array.of(1) }] };
    await expect(rank([], bad)).rejects.toMatchObject({ reason: 'invalid_request' });
  });
});

it('reads the record that another bundle of the encoding wrote', async () => {
  bundle = bundleWithout;
  const scores = await applied(3);
  bundle = testBundle(false, 'retrained');
  const { encodingId } = bundleWithout.model;
  const answer = await rank([]);
  expect(answer).toMatchObject({ bundleId: bundle.model.id, encodingId, positionCount: 3, rung: 'full' });
  expect(answer.bundleId).not.toBe(bundleWithout.model.id);
  expect([...answer.scores]).toEqual(scores);
});

it('gives the record half of the time left', async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  await rank([], { maxStalenessMs: 7 });
  expect(get.mock.calls).toEqual([
    [{ encodingId: bundle.model.encodingId, userId: 'u', maxStalenessMs: 7, deadlineMs: 1_002_500 }],
  ]);
});

describe('an answer with gathered pool rows', () => {
  /** Answers rows of zeros. */
  const gather = vi.fn(async (_method: unknown, request: GatherRequest, _limits?: { deadlineMs: number }) => {
    const { bundleId, group, keySlots, valueSlots } = request;
    const { pool } = bundle.model.manifest.groups.find(({ name }) => name === group) ?? {};
    return {
      bundleId,
      keyRows: Buffer.alloc((keySlots?.length ?? 0) * (pool?.keyWidth ?? 0)),
      valueRows: Buffer.alloc((valueSlots?.length ?? 0) * (pool?.valueWidth ?? 0)),
    };
  });
  const poolRows = createPoolRows({ call: gather } as unknown as Parameters<typeof createPoolRows>[0]);
  const recent = interactions.slice(2, 4);

  it('counts every position of the history', async () => {
    await applied(2);
    const answer = await rank(recent, {}, poolRows);
    expect(answer).toMatchObject({ rung: 'full', rungReason: '', positionCount: 4, mergedCount: 2 });
    expect(new Set(answer.scores)).toEqual(new Set([4]));
  });

  it('is no_history with the reason if the rows cannot be gathered, unless the caller requires history', async () => {
    await applied(2);
    gather.mockRejectedValue(new CkvError('overloaded', 'the pool is busy'));
    const answer = await rank(recent, {}, poolRows);
    expect(answer).toMatchObject({
      rung: 'no_history',
      rungReason: 'overloaded',
      positionCount: 0,
      mergedCount: 0,
      coldUser: false,
    });
    expect(new Set(answer.scores)).toEqual(new Set([0]));
    await expect(rank(recent, { historyPolicy: 'required' }, poolRows)).rejects.toMatchObject({ reason: 'overloaded' });
  });

  it('has half of the time left for the rows, so that a pool that hangs costs the history and not the answer', async () => {
    await applied(2);
    vi.useFakeTimers({ now: 1_000_000 });
    gather.mockImplementation(async (_method, _request, limits) => {
      expect(limits).toMatchObject({ deadlineMs: 1_002_500 });
      throw new CkvError('deadline', 'the deadline passed');
    });
    const answer = await rank(recent, {}, poolRows);
    expect(answer).toMatchObject({ rung: 'no_history', rungReason: 'deadline', positionCount: 0 });
  });

  it('never hides a bug of the pool', async () => {
    await applied(2);
    gather.mockRejectedValue(new CkvError('bug', 'wrong'));
    await expect(rank([], {}, poolRows)).rejects.toMatchObject({ reason: 'bug' });
  });
});
