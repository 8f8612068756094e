import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BundleModel } from '../bundle/bundle-model.js';
import { factoredManifest, factoredModel } from '../bundle/factored.fixture.js';
import { CkvError } from '../errors.js';
import { float32 } from '../tensor.js';
import { assembleRank, assembleRankKv } from './assemble.js';
import { clusterMeans, clusterPlaces } from './cluster-means.js';
import {
  factoredScene,
  gatheredRows,
  gatheredTables,
  naiveEmbedding,
  poolTables,
  rowsOf,
  type Scene,
  scenes,
  simdTables,
  specOf,
  visitedSlots,
  wholeTables,
} from './cluster-scenes.fixture.js';
import type { RowSource } from './embedding-means.js';
import { createPoolTables, type PoolTables } from './pool-tables.js';

/** Orders clusters by their first digit, then by the next ones. */
function byDigits(a: { digits: number[] }, b: { digits: number[] }): number {
  const at = a.digits.findIndex((digit, i) => digit !== b.digits[i]);
  return (a.digits[at] ?? 0) - (b.digits[at] ?? 0);
}

/** Counts and means position by position, with plain lists. */
function naiveMeans(scene: Scene): { counts: number[]; means: number[][] } {
  const { spec, clusterOf, positions } = scene;
  const clusters = new Map<string, { digits: number[]; embeddings: number[][] }>();
  for (const position of positions) {
    const digits = spec.by.map(({ field }) => {
      const slot = position[field] ?? 0;
      return clusterOf[field]?.[slot] ?? slot;
    });
    const cluster = clusters.get(digits.join()) ?? { digits, embeddings: [] };
    clusters.set(digits.join(), cluster);
    cluster.embeddings.push(naiveEmbedding(scene, position));
  }
  const visited = [...clusters.values()].sort(byDigits).map(({ embeddings }) => embeddings);
  const mean = (embeddings: number[][]) =>
    Array.from(
      { length: spec.width },
      (_, j) => embeddings.reduce((sum, one) => sum + Number(one[j]), 0) / embeddings.length,
    );
  return { counts: visited.map(({ length }) => length), means: visited.map(mean) };
}

let model: BundleModel;
let factored: Scene;
beforeEach(() => {
  factored = factoredScene();
  model = factored.model;
});
afterEach(() => {
  vi.unstubAllGlobals();
});
const candidates = {
  itemIndices: Int32Array.of(1, 0),
  columns: { freshness: Float32Array.of(0.1, 0.2) },
  context: { hour: 9 },
};
function expectMeans({ counts, means }: { counts: Float32Array; means: Float32Array }, scene: Scene): void {
  const wanted = naiveMeans(scene);
  expect([...counts]).toEqual(wanted.counts);
  const flat = wanted.means.flat();
  expect(means.length).toBe(flat.length);
  flat.forEach((mean, i) => {
    expect(Math.abs((means[i] ?? Number.NaN) - mean)).toBeLessThanOrEqual(1e-5 * (1 + Math.abs(mean)));
  });
}

describe('clusterMeans', () => {
  it.each([
    ['whole tables', wholeTables],
    ['tables in the memory of SIMD code', simdTables],
    ['gathered rows', gatheredTables],
  ])('gives the counts and means of a naive sum, from %s', (_, sourceOf) => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const { model } = scene;
        expectMeans(clusterMeans(model, rowsOf(scene), model.clustering('history'), sourceOf(scene)), scene);
      }),
      { numRuns: 200 },
    );
  });

  it('lists the clusters in the order in which clusterPlaces names them', () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const { model, positions } = scene;
        const { counts } = clusterMeans(model, rowsOf(scene), model.clustering('history'), wholeTables(scene));
        const places = clusterPlaces(model, rowsOf(scene), model.clustering('history'));
        expect(places.length).toBe(positions.length);
        expect([...counts]).toEqual(Array.from(counts, (_, place) => places.filter((one) => one === place).length));
        // The means of the places are those of the clusters.
        const means = Array.from(counts, (_, place) => {
          const members = positions.filter((_, i) => places[i] === place).map((one) => naiveEmbedding(scene, one));
          return (members[0] ?? []).map(
            (_, j) => members.reduce((sum, one) => sum + (one[j] ?? 0), 0) / members.length,
          );
        });
        expectMeans({ counts, means: Float32Array.from(means.flat()) }, scene);
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ['plain loops', wholeTables],
    ['SIMD code', simdTables],
  ])('keeps its accuracy by %s in a cluster of 100,000 positions', (_, sourceOf) => {
    const manifest = { ...factoredManifest({ width: 16 }), maxPositions: 100_000 };
    const wide = factoredModel(manifest);
    const positions = Array.from({ length: 100_000 }, (_, i) => ({ item: (i * 7) % 5, event: (i * 5) % 3 }));
    const row = (slot: number) => Array.from({ length: 16 }, (_, j) => Math.fround(Math.sin(17 * slot + j) + 2));
    const tables = new Map([...factored.tables].map(([name, rows]) => [name, rows.map((_, slot) => row(slot))]));
    const scene = { ...factored, model: wide, spec: specOf(wide), tables, positions };
    const source = sourceOf(scene);
    const { counts, means } = clusterMeans(wide, rowsOf(scene), wide.clustering('history'), source);
    const wanted = naiveMeans(scene);
    expect([...counts]).toEqual(wanted.counts);
    const errors = wanted.means.flat().map((mean, i) => Math.abs((means[i] ?? Number.NaN) / mean - 1));
    expect(Math.max(...errors)).toBeLessThan(4e-6);
  });

  it('has memory for the longest history, and adds longer ones by plain loops', () => {
    const wide = factoredModel(factoredManifest({ width: 16 }));
    const tables = new Map(
      [...factored.tables].map(([name, rows]) => [name, rows.map(([x = 0]) => Array(16).fill(x))]),
    );
    const begun: boolean[] = [];
    const source = simdTables({ ...factored, model: wide, tables });
    const simd = source.simd && {
      ...source.simd,
      begin: (bytes: number, width: number) => {
        const fits = source.simd?.begin(bytes, width) ?? false;
        begun.push(fits);
        return fits;
      },
    };
    const short = Array<number>(200).fill(5); // together more than the memory has
    for (const length of [5, 20_000, ...short]) {
      const positions = Array.from({ length }, (_, i) => ({ item: i % 6, event: i % 3 }));
      const scene = { ...factored, model: wide, spec: specOf(wide), tables, positions };
      expectMeans(clusterMeans(wide, rowsOf(scene), wide.clustering('history'), { ...source, simd }), scene);
    }
    expect(begun).toEqual([true, false, ...short.map(() => true)]);
  });

  it('has memory for the clusters of the longest history, not for those that no history visits', () => {
    const reserved = (positions: number) => {
      const manifest = factoredManifest({
        items: 60_000,
        itemType: 'uint16',
        clusters: 60_000,
        eventClusters: 1,
        width: 16,
      });
      const simd = createPoolTables(factoredModel({ ...manifest, maxPositions: positions }))?.simd;
      let bytes = 0;
      while (simd?.begin(bytes + 65_536, 16)) bytes += 65_536;
      return bytes;
    };
    expect(reserved(1_000)).toBeGreaterThanOrEqual(2 * 1_000 * 16 * 4);
    expect(reserved(1_000)).toBeLessThan(2_000_000); // all clusters would take 15 MB
  });

  it('allocates nothing for clusters that the history does not visit', () => {
    const manifest = factoredManifest({
      items: 60_000,
      itemType: 'uint16',
      clusters: 60_000,
      eventClusters: 1,
      width: 16,
    });
    const many = factoredModel(manifest);
    const tables = new Map(
      [...factored.tables].map(([name, rows]) => [name, Array(60_000).fill(Array(16).fill(rows.length))]),
    );
    const scene = {
      ...factored,
      model: many,
      spec: specOf(many),
      clusterOf: { item: Array.from({ length: 60_000 }, (_, i) => i), event: [0, 0, 0] },
      tables,
      positions: [59_999, 0, 59_999].map((item) => ({ item, event: 2 })),
    };
    const means = () =>
      clusterMeans(many, rowsOf(scene), many.clustering('history'), { table: (part) => visitedSlots(scene, part) });
    expectMeans(means(), scene);
    const lengths: number[] = [];
    const construct = (type: Int32ArrayConstructor, args: [never]) => {
      if (typeof args[0] === 'number') lengths.push(args[0]);
      return new type(...args);
    };
    vi.stubGlobal('Int32Array', new Proxy(Int32Array, { construct }));
    expectMeans(means(), scene);
    expect(Math.max(...lengths)).toBeLessThan(100);
  });

  it('adds gathered rows by SIMD code up to 64 MiB, and more by plain loops', () => {
    const wide = factoredModel({
      ...factoredManifest({ items: 700, itemType: 'uint16', width: 32_768 }),
      maxPositions: 700,
    });
    for (const length of [100, 700, 100]) {
      const positions = Array.from({ length }, (_, i) => ({ item: i, event: 0 }));
      const listed = { items: Int32Array.from({ length }, (_, i) => i), events: Int32Array.of(0) };
      const source: RowSource = {
        table: ({ group, part }) => {
          const slots = group === 'items' ? listed.items : listed.events;
          const rows = new Float32Array(slots.length * 32_768).fill(part === 'value' ? 1 : 0.5);
          return { slots, rows };
        },
      };
      const scene = { ...factored, model: wide, positions };
      const { counts, means } = clusterMeans(wide, rowsOf(scene), wide.clustering('history'), source);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(length);
      expect(means.every((mean) => mean === 0.5 * 1.5 + 1)).toBe(true);
    }
  });

  it.each(['item', 'event'])('refuses an %s beyond its pool', (field) => {
    const scene = {
      ...factored,
      positions: [
        { item: 1, event: 1 },
        { item: 1, event: 1, [field]: 9 },
      ],
    };
    const means = () => clusterMeans(model, rowsOf(scene), model.clustering('history'), wholeTables(scene));
    const slots = field === 'item' ? 6 : 3;
    expect(means).toThrow(new CkvError('record_corrupt', `a row's ${field} is 9, the pool has ${slots} slots`));
    expectMeans(clusterMeans(model, rowsOf(factored), model.clustering('history'), wholeTables(factored)), factored);
  });

  it('throws a bug for a slot that was not gathered, also if an earlier history had it', () => {
    const means = (scene: Scene, gathered: Scene) =>
      clusterMeans(model, rowsOf(scene), model.clustering('history'), gatheredTables(gathered));
    means(factored, factored);
    const fewer = { ...factored, positions: factored.positions.slice(0, 1) };
    expect(() => means(factored, fewer)).toThrow(new CkvError('bug', 'slot 1 was not gathered'));
    expect(() => means(factored, { ...factored, positions: [] })).toThrow('slot 5 was not gathered');
  });
});

describe('a rank graph with clusters', () => {
  let tables: PoolTables;
  beforeEach(() => {
    tables = poolTables(factored);
  });
  it('gets counts and means, clusters ascending', () => {
    // The clusters of items 5, 1 and 3 are 1, of item 4 it is 0. Event 1 has cluster 1, event 2 has 0.
    // So item 4 is alone in cluster 0 * 2 + 0, items 1 and 3 are in 1 * 2 + 0, item 5 is alone in 1 * 2 + 1.
    // A row is item * (1 + g) + h.
    const feeds = assembleRank(model, rowsOf(factored), candidates, tables);
    expect(feeds.counts).toEqual(float32(Float32Array.of(1, 2, 1), [3]));
    const item5 = [50 * (1 + 0.25) + 3, 51 * (1 + 0.5) + 4];
    const item1 = [10 * (1 + 0.75) + 5, 11 * (1 + 1) + 6];
    const item4 = [40 * (1 + 0.75) + 5, 41 * (1 + 1) + 6];
    const item3 = [30 * (1 + 0.75) + 5, 31 * (1 + 1) + 6];
    const means = [...item4, ...[0, 1].map((j) => (Number(item1[j]) + Number(item3[j])) / 2), ...item5];
    expect(feeds.means).toEqual(float32(Float32Array.from(means), [3, 2]));
  });

  it('gets the same from the rows that were gathered', () => {
    const { counts, means } = assembleRank(model, rowsOf(factored), candidates, tables);
    const feeds = assembleRankKv(model, rowsOf(factored), gatheredRows(factored), candidates);
    expect(feeds).toMatchObject({ counts, means });
  });

  it('gets key rows by key slots and value rows by value slots', () => {
    const manifest = factoredManifest({ items: 3 });
    const [, events] = manifest.groups;
    Object.assign(events ?? {}, { key: { route: 'item' } });
    const terms = (['key', 'value'] as const).map((part) => {
      return { field: part === 'key' ? 'item' : 'event', rows: { group: 'events', part } };
    });
    Object.assign(manifest.clusterings?.[0] ?? {}, { terms });
    const split = { ...factored, model: factoredModel(manifest), positions: [{ item: 2, event: 0 }] };
    const feeds = assembleRankKv(split.model, rowsOf(split), gatheredRows(split), candidates);
    expect(feeds.means).toEqual(float32(Float32Array.of(0.75 + 1, 1 + 2), [1, 2]));
  });

  it('gets no clusters for an empty history', () => {
    const empty = { ...factored, positions: [] };
    const shapes = { counts: float32(new Float32Array(0), [0]), means: float32(new Float32Array(0), [0, 2]) };
    expect(assembleRank(model, new Uint8Array(0), candidates, tables)).toMatchObject(shapes);
    expect(assembleRankKv(model, new Uint8Array(0), gatheredRows(empty), candidates)).toMatchObject(shapes);
  });

  it('does not depend on the order of the history', () => {
    const reversed = { ...factored, positions: factored.positions.toReversed() };
    const { counts, means } = assembleRank(model, rowsOf(factored), candidates, tables);
    expect(assembleRank(model, rowsOf(reversed), candidates, tables)).toMatchObject({ counts, means });
  });

  it('throws a bug without its tables or its gathered rows', () => {
    const rows = rowsOf(factored);
    expect(() => assembleRank(model, rows, candidates)).toThrow('the pool tables of clustering history were not read');
    expect(() => assembleRankKv(model, rows, new Map(), candidates)).toThrow('no rows gathered for group items');
  });
});
