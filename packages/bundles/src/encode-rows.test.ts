import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type BundleModel, createBundleModel, type Interaction, type Tensors } from '@collectivekv/domain';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeRows } from './encode-rows.js';

const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));
const MAX_POSITIONS = 9;

/** A model with a pool, and an encode graph that takes the routes of the history, or the newest `last` of them. */
function historyModel(last?: number): BundleModel {
  const manifest = JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8'));
  const input = { name: 'routes', role: 'routes', field: 'route', type: 'int64', shape: ['positions'] };
  manifest.graphs.encode.inputs.push(last === undefined ? input : { ...input, last });
  manifest.maxPositions = MAX_POSITIONS;
  return createBundleModel({
    manifestBytes: Buffer.from(JSON.stringify(manifest)),
    itemIds: JSON.parse(readFileSync(`${TARGET}/items.json`, 'utf8')).ids,
  });
}

/** A stand-in for a causal graph: a route is a hash of the item and of the `window` routes before it. */
function causalBundle(model: BundleModel, window = Number.POSITIVE_INFINITY) {
  const runs: { batch: number; positions: number }[] = [];
  const run = async (_: string, feeds: Tensors): Promise<Tensors> => {
    const items = [...(feeds.item_index?.data ?? [])].map(Number);
    const seen = [...(feeds.routes?.data ?? [])].map(Number);
    runs.push({ batch: items.length, positions: seen.length });
    const routes = items.map((item) => {
      const visible = window < seen.length ? seen.slice(-window) : seen;
      const route = visible.reduce((hash, before) => (hash * 31 + before + 1) % 251, item % 251);
      seen.push(route);
      return route;
    });
    const shape = [items.length, 1];
    return {
      route: { type: 'int64', data: BigInt64Array.from(routes, BigInt), shape },
      user_code: { type: 'int64', data: new BigInt64Array(items.length), shape },
    };
  };
  return { bundle: { model, graphs: { run } }, runs };
}

const interactionsOf = (count: number): Interaction[] =>
  Array.from({ length: count }, (_, i) => ({
    eventId: `e${i}`,
    userId: 'u',
    itemId: `i${String((i * 37) % 300).padStart(4, '0')}`,
    timestampMs: i + 1,
    action: '',
    features: {},
  }));

describe.each([
  ['the whole history', historyModel(), undefined],
  ['its newest positions', historyModel(4), 4],
])('encodeRows behind %s', (_, model, window) => {
  it('gives the same rows for any division into calls, also beyond the longest history', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 14 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(sizes, async (cuts) => {
        const { bundle } = causalBundle(model, window);
        const interactions = interactionsOf(cuts.reduce((sum, size) => sum + size, 0));
        const rowsBy = async (calls: readonly number[]) => {
          let [rows, from] = [Buffer.alloc(0), 0];
          for (const size of calls) {
            const history = rows.subarray(Math.max(0, rows.length - MAX_POSITIONS * model.layout.strideBytes));
            const batch = interactions.slice(from, from + size);
            rows = Buffer.concat([rows, await encodeRows(bundle, batch, { history })]);
            from += size;
          }
          return rows.toString('hex');
        };
        const oneByOne = await rowsBy(interactions.map(() => 1));
        expect(await rowsBy(cuts)).toBe(oneByOne);
        expect(await rowsBy([interactions.length])).toBe(oneByOne);
      }),
    );
  });
});

describe('encodeRows', () => {
  it('runs interactions together until the record is full, then one by one', async () => {
    const { bundle, runs } = causalBundle(historyModel());
    await encodeRows(bundle, interactionsOf(12));
    expect(runs).toEqual([
      { batch: 10, positions: 0 },
      { batch: 1, positions: 9 },
      { batch: 1, positions: 9 },
    ]);
  });

  it('runs all interactions together if the graph looks back over a fixed number of positions', async () => {
    const { bundle, runs } = causalBundle(historyModel(4), 4);
    await encodeRows(bundle, interactionsOf(30));
    expect(runs).toEqual([{ batch: 30, positions: 0 }]);
  });

  it('runs no graph without interactions', async () => {
    const { bundle, runs } = causalBundle(historyModel());
    expect(await encodeRows(bundle, [])).toEqual(new Uint8Array(0));
    expect(runs).toEqual([]);
  });
});
