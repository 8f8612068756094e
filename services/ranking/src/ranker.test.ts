import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle } from '@collectivekv/bundles';
import { CkvError, createBundleModel, encodeRecord, eventHash, type Interaction } from '@collectivekv/domain';
import { packIds } from '@collectivekv/rpc';
import { beforeEach, describe, expect, it } from 'vitest';
import type { RankQuery } from './rank-query.js';
import { createRanker } from './ranker.js';
import type { RecordSource } from './record-source.js';

const DEMO = fileURLToPath(new URL('../../../bundles/demo', import.meta.url));
const MAX_POSITIONS = 6;

/**
 * The demo with stand-ins for its graphs. Encode: a route is a hash of the item and of all routes before it. Rank: the
 * scores are the history's routes, one a candidate.
 */
function historyBundle(): LoadedBundle {
  const manifest = JSON.parse(readFileSync(`${DEMO}/bundle.json`, 'utf8'));
  const routes = { name: 'routes', role: 'routes', field: 'route', type: 'int64', shape: ['positions'] };
  manifest.graphs.encode.inputs.push(routes);
  manifest.graphs.rank.inputs.push(routes);
  const model = createBundleModel({
    manifestBytes: Buffer.from(JSON.stringify({ ...manifest, maxPositions: MAX_POSITIONS })),
    itemIds: JSON.parse(readFileSync(`${DEMO}/items.json`, 'utf8')).ids,
  });
  const graphs: LoadedBundle['graphs'] = {
    idleWorkerCount: 1,
    runEach: (graph, parts) => Promise.all(parts.map((feeds) => graphs.run(graph, feeds))),
    async run(graph, feeds) {
      const seen = [...(feeds.routes?.data ?? [])].map(Number);
      if (graph === 'rank') {
        const scores = Float32Array.from({ length: MAX_POSITIONS }, (_, i) => seen[i] ?? -1);
        return { scores: { type: 'float32', data: scores, shape: [MAX_POSITIONS] } };
      }
      const items = [...(feeds.item_index?.data ?? [])].map(Number);
      for (const item of items) seen.push(seen.reduce((hash, before) => (hash * 31 + before + 1) % 251, item % 251));
      const route = BigInt64Array.from(seen.slice(seen.length - items.length), BigInt);
      const code = new BigInt64Array(items.length);
      return {
        route: { type: 'int64', data: route, shape: [] },
        user_code: { type: 'int64', data: code, shape: [] },
      };
    },
    close: async () => undefined,
  };
  return { dir: '', model, graphs, splitsCandidates: false, close: async () => undefined };
}

const bundle = historyBundle();
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
  candidateIds: packIds(Array(MAX_POSITIONS).fill('i0001')),
  candidateFeatures: [],
  contextFeatures: [],
  recentInteractions,
  maxStalenessMs: 0,
  topK: 0,
  bundleId: '',
  historyPolicy: 'preferred',
});

let record: Uint8Array | undefined;
let away: boolean;
beforeEach(() => {
  record = undefined;
  away = false;
});
const records: RecordSource = {
  async get() {
    if (away) throw new CkvError('dependency_unavailable', 'away');
    return { bytes: record, ageMs: 0 };
  },
};
const bundles = { active: () => bundle, get: () => bundle };
const rank = (recent: Interaction[]) =>
  createRanker({ bundles, records, partCandidates: 0 }).rank(query(recent), {
    deadlineMs: Date.now() + 5_000,
    signal: new AbortController().signal,
  });

/** The record after so many interactions, and the scores that it gives. */
async function applied(count: number) {
  const rows = await encodeRows(bundle, interactions.slice(0, count));
  const { strideBytes } = bundle.model.layout;
  record = encodeRecord({
    bundleId: bundle.model.id,
    strideBytes,
    lifetimeCount: count,
    lastEventMs: count,
    recentEvents: Buffer.concat(interactions.slice(0, count).map(({ eventId }) => eventHash(eventId))),
    rows: rows.subarray(Math.max(0, rows.length - MAX_POSITIONS * strideBytes)),
  });
  return [...(await rank([])).scores];
}

describe('recent interactions of a bundle that encodes with history', () => {
  it.each([
    [0, 3],
    [2, 5],
    [4, 9], // trimmed while they are encoded
    [6, 8],
    [9, 9],
  ])('give the scores of a record that has them: %i in the record, %i altogether', async (stored, total) => {
    const wanted = await applied(total);
    await applied(stored);
    const known = interactions.slice(Math.max(0, stored - 2), total); // two that the record has
    const answer = await rank(known);
    expect([...answer.scores]).toEqual(wanted);
    expect(answer).toMatchObject({ mergedCount: total - stored, positionCount: Math.min(total, MAX_POSITIONS) });
  });

  it('are encoded behind nothing where the record is away', async () => {
    const wanted = await applied(3);
    await applied(8);
    away = true;
    const answer = await rank(interactions.slice(0, 3));
    expect([...answer.scores]).toEqual(wanted);
    expect(answer).toMatchObject({ rung: 'recent_only', rungReason: 'dependency_unavailable', mergedCount: 3 });
  });
});
