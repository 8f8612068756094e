import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeRows, type LoadedBundle, loadBundle } from '@collectivekv/bundles';
import { CkvError, encodeRecord, eventHash, type Interaction, newestRows } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import { packIds } from '@collectivekv/rpc';
import { createLocalPoolRows } from './attention/local-pool-rows.js';
import type { PoolRows } from './attention/pool-rows.js';
import { oneBundle } from './one-bundle.js';
import type { RankQuery } from './rank-query.js';
import { createRanker, type RankAnswer } from './ranker.js';

/** Returns the folder of a small bundle. */
export function bundleFolder(name: string): string {
  return fileURLToPath(new URL(`../../../test/fixtures/bundles/${name}`, import.meta.url));
}

/** Loads all graphs of a bundle. */
export function loadWhole(dir: string, engine: Engine): Promise<LoadedBundle> {
  return loadBundle(dir, engine, {
    graphs: ['encode', 'rank', 'rankKv', 'gather'],
    verifyGolden: true,
    poolTables: true,
  });
}

/** Returns numbers from 0 to 1, below 1, that depend on the seed alone. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** How a request is served. */
export type RequestKind =
  | 'stored'
  | 'recent'
  | 'cold'
  | 'ignored'
  | 'no record read'
  | 'corrupt record'
  | 'remote'
  | 'no rows gathered';

export const REQUEST_KINDS: readonly RequestKind[] = [
  'stored',
  'recent',
  'cold',
  'ignored',
  'no record read',
  'corrupt record',
  'remote',
  'no rows gathered',
];

/** Answers requests of one user each, whose histories, candidates and features are random. */
export interface MixedRequests {
  /** Answers a new request. `partCandidates` as in RankerParts. */
  answer(kind: RequestKind, partCandidates: number): Promise<RankAnswer>;
}

/** Creates requests to a bundle that has all graphs and pool tables. */
export function mixedRequests(bundle: LoadedBundle, random: () => number): MixedRequests {
  const { manifest, layout } = bundle.model;
  const below = (count: number) => Math.floor(random() * count);
  const itemIds: string[] = JSON.parse(readFileSync(join(bundle.dir, 'items.json'), 'utf8')).ids.slice(1);
  const itemId = () => (random() < 0.05 ? 'unknown' : (itemIds[below(itemIds.length)] ?? ''));
  const columns = (features: typeof manifest.features.candidate, count: number) =>
    features.map(({ name, min, max }) => ({
      name,
      values: Float32Array.from({ length: count }, () => min + random() * (max - min)),
    }));
  let eventCount = 0;
  const interactions = (count: number): Interaction[] =>
    Array.from({ length: count }, () => ({
      eventId: `e${eventCount++}`,
      userId: 'u',
      itemId: itemId(),
      timestampMs: 1_700_000_000_000 + eventCount,
      action: manifest.actions[below(manifest.actions.length)] ?? '',
      features: Object.fromEntries(
        manifest.features.interaction.map(({ name, min, max }) => [name, min + random() * (max - min)]),
      ),
    }));

  async function recordOf(history: readonly Interaction[]): Promise<Uint8Array> {
    const rows = newestRows(layout, await encodeRows(bundle, history), manifest.maxPositions);
    return encodeRecord({
      encodingId: bundle.model.encodingId,
      strideBytes: layout.strideBytes,
      lifetimeCount: history.length,
      lastEventMs: history.at(-1)?.timestampMs ?? 0,
      recentEvents: Buffer.concat(history.slice(-14).map(({ eventId }) => eventHash(eventId))),
      rows,
    });
  }

  return {
    async answer(kind, partCandidates) {
      const history = interactions(1 + below(60));
      // Some of the recent interactions are in the record.
      const recent = kind === 'recent' || random() < 0.3 ? [...history.slice(-2), ...interactions(1 + below(5))] : [];
      const bytes = kind === 'cold' ? undefined : await recordOf(history);
      const record = kind === 'corrupt record' ? bytes?.subarray(0, -1) : bytes;
      const local = createLocalPoolRows(bundle);
      const failing: PoolRows = { ...local, gather: async () => Promise.reject(new CkvError('overloaded', 'busy')) };
      const ranker = createRanker({
        bundles: oneBundle(bundle),
        records: {
          async get() {
            if (kind === 'no record read') throw new CkvError('deadline', 'late');
            return { bytes: record, ageMs: 0 };
          },
        },
        poolRows: kind === 'remote' ? local : kind === 'no rows gathered' ? failing : undefined,
        partCandidates,
        othersWait: () => false,
      });
      const count = 1 + below(40);
      const query: RankQuery = {
        userId: 'u',
        candidateIds: packIds(Array.from({ length: count }, itemId), 'candidate_ids'),
        candidateFeatures: random() < 0.8 ? columns(manifest.features.candidate, count) : [],
        contextFeatures: random() < 0.8 ? columns(manifest.features.context, 1) : [],
        recentInteractions: recent,
        maxStalenessMs: 0,
        topK: 0,
        bundleId: '',
        historyPolicy: kind === 'ignored' ? 'ignored' : 'preferred',
        captureId: '',
        explain: false,
      };
      return ranker.rank(query, {
        deadlineMs: Number.POSITIVE_INFINITY,
        signal: new AbortController().signal,
      });
    },
  };
}
