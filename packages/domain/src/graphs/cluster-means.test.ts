import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BundleModel } from '../bundle/bundle-model.js';
import { type ClusterMaps, factoredManifest, factoredModel, listClusterMaps } from '../bundle/factored.fixture.js';
import type { ClusteringSpec, Manifest, PoolPart, RecordField } from '../bundle/manifest-schema.js';
import { writeElement } from '../bundle/row-layout.js';
import { CkvError } from '../errors.js';
import { float32 } from '../tensor.js';
import { assembleRank, assembleRankKv, type GatheredRows } from './assemble.js';
import { clusterMeans, type RowSource } from './cluster-means.js';
import { createPoolTables, type PoolTables } from './pool-tables.js';
import { slotHistogram } from './slot-histogram.js';

type Matrix = readonly (readonly number[])[];
type RouteType = Extract<RecordField, { kind: 'route' }>['type'];

/** A bundle with a clustering, its tables and a history: one slot per route field and position. */
interface Scene {
  readonly model: BundleModel;
  readonly spec: Pick<ClusteringSpec, 'by' | 'terms' | 'width'>;
  readonly clusterOf: ClusterMaps;
  /** Rows of each pool part, one per slot. */
  readonly tables: ReadonlyMap<string, Matrix>;
  readonly positions: readonly Readonly<Record<string, number>>[];
}

const nameOf = ({ group, part }: PoolPart) => `${group}.${part}`;

/** Orders clusters by their first digit, then by the next ones. */
function byDigits(a: { digits: number[] }, b: { digits: number[] }): number {
  const at = a.digits.findIndex((digit, i) => digit !== b.digits[i]);
  return (a.digits[at] ?? 0) - (b.digits[at] ?? 0);
}

/** Counts and means position by position, with plain lists. */
function naiveMeans({ spec, clusterOf, tables, positions }: Scene): { counts: number[]; means: number[][] } {
  const row = (part: PoolPart, slot: number) => tables.get(nameOf(part))?.[slot] ?? [];
  const clusters = new Map<string, { digits: number[]; embeddings: number[][] }>();
  for (const position of positions) {
    const embedding = Array<number>(spec.width).fill(0);
    for (const { field, rows, scale } of spec.terms) {
      const values = row(rows, position[field] ?? 0);
      const factors = scale ? row(scale.rows, position[scale.field] ?? 0) : [];
      for (let j = 0; j < spec.width; j++)
        embedding[j] = Number(embedding[j]) + Number(values[j]) * (1 + (factors[j] ?? 0));
    }
    const digits = spec.by.map(({ field }) => {
      const slot = position[field] ?? 0;
      return clusterOf[field]?.[slot] ?? slot;
    });
    const cluster = clusters.get(digits.join()) ?? { digits, embeddings: [] };
    clusters.set(digits.join(), cluster);
    cluster.embeddings.push(embedding);
  }
  const visited = [...clusters.values()].sort(byDigits).map(({ embeddings }) => embeddings);
  const mean = (embeddings: number[][]) =>
    Array.from(
      { length: spec.width },
      (_, j) => embeddings.reduce((sum, one) => sum + Number(one[j]), 0) / embeddings.length,
    );
  return { counts: visited.map(({ length }) => length), means: visited.map(mean) };
}

function specOf({ manifest }: BundleModel): ClusteringSpec {
  const [clustering] = manifest.clusterings ?? [];
  if (!clustering) throw new Error('the fixture has no clustering');
  return clustering;
}

function rowsOf({ model: { layout }, positions }: Scene): Uint8Array {
  const rows = new Uint8Array(positions.length * layout.strideBytes).fill(0xee);
  const view = new DataView(rows.buffer);
  positions.forEach((position, i) => {
    for (const [name, slot] of Object.entries(position)) {
      writeElement(view, i * layout.strideBytes, layout.field(name), 0, slot);
    }
  });
  return rows;
}

function allSlots({ tables }: Scene, part: PoolPart): Float32Array {
  return Float32Array.from((tables.get(nameOf(part)) ?? []).flat());
}

function wholeTables(scene: Scene): RowSource {
  return { table: (part) => ({ rows: allSlots(scene, part) }) };
}

/** The tables of a loaded bundle, filled. */
function poolTables(scene: Scene): PoolTables {
  const tables = createPoolTables(scene.model);
  if (!tables) throw new Error('the rank graph has no clusterings');
  for (const part of tables.parts) tables.table(part).set(allSlots(scene, part));
  return tables;
}

function simdTables(scene: Scene): RowSource {
  const tables = poolTables(scene);
  return { table: (part) => ({ rows: tables.table(part) }), simd: tables.simd };
}

function gatheredTables(scene: Scene): RowSource {
  return { table: (part) => visitedSlots(scene, part) };
}

/** The rows of the slots that the history visits, and no others. */
function visitedSlots(scene: Scene, part: PoolPart) {
  const group = scene.model.manifest.groups.find(({ name }) => name === part.group);
  const route = group?.[part.part]?.route;
  const slots = route === undefined ? new Int32Array(0) : slotHistogram(scene.model, rowsOf(scene), route).slots;
  const table = scene.tables.get(nameOf(part)) ?? [];
  return { slots, rows: Float32Array.from([...slots].flatMap((slot) => table[slot] ?? [])) };
}

/** The factored fixture with rows that tell their slot. */
let model: BundleModel;
let factored: Scene;
beforeEach(() => {
  model = factoredModel();
  factored = {
    model,
    spec: specOf(model),
    clusterOf: { item: [0, 1, 0, 1, 0, 1], event: [0, 1, 0] },
    tables: new Map([
      ['items.key', [0, 1, 2, 3, 4, 5].map((item) => [10 * item, 10 * item + 1])],
      [
        'events.key',
        [
          [0, 0],
          [0.25, 0.5],
          [0.75, 1],
        ],
      ],
      [
        'events.value',
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      ],
    ]),
    positions: [
      { item: 5, event: 1 },
      { item: 1, event: 2 },
      { item: 4, event: 2 },
      { item: 3, event: 2 },
    ],
  };
});
afterEach(() => {
  vi.unstubAllGlobals();
});
const candidates = {
  itemIndices: Int32Array.of(1, 0),
  columns: { freshness: Float32Array.of(0.1, 0.2) },
  context: { hour: 9 },
};

const FIELDS = ['a', 'b', 'c'] as const;
type Field = (typeof FIELDS)[number];
const number = fc.double({ min: -1, max: 1, noNaN: true }).map(Math.fround);
const routeType = fc.constantFrom<RouteType>('uint8', 'uint16', 'uint24', 'uint32');
const part = fc.constantFrom('key' as const, 'value' as const);
const ref = fc.record({ field: fc.constantFrom(...FIELDS), part }).map(({ field, part }) => {
  return { field, rows: { group: `rows-of-${field}`, part } };
});
const term = fc.record({ rows: ref, scale: fc.option(ref, { nil: undefined }) }).map(({ rows, scale }) => {
  return scale ? { ...rows, scale } : rows;
});

/** The number of clusters of each field. Undefined if a slot is its own cluster. */
const clustersOf = fc.tuple(
  ...FIELDS.map((_, i) => fc.option(i === 0 ? fc.constantFrom(1, 4, 300) : fc.constantFrom(1, 4), { nil: undefined })),
);

/** Scenes of all widths, strides, route types and terms, clustered by one to three fields with and without maps. */
const scenes: fc.Arbitrary<Scene> = fc
  .record({
    width: fc.constantFrom(1, 3, 8, 16, 21, 48, 64),
    types: fc.tuple(routeType, routeType, routeType),
    slots: fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
    padding: fc.integer({ min: 0, max: 3 }),
    by: fc.shuffledSubarray([...FIELDS], { minLength: 1 }),
    counts: clustersOf,
    terms: fc.array(term, { minLength: 1, maxLength: 4 }),
  })
  .chain(({ width, types, slots, padding, by, counts, terms }) => {
    const slotsOf = (field: Field) => slots[FIELDS.indexOf(field)] ?? 1;
    const countOf = (field: Field) => counts[FIELDS.indexOf(field)];
    const mapped = by.filter((field) => countOf(field) !== undefined);
    const matrix = (count: number) =>
      fc.array(fc.array(number, { minLength: width, maxLength: width }), { minLength: count, maxLength: count });
    const map = (field: Field) =>
      fc.array(fc.nat((countOf(field) ?? 1) - 1), { minLength: slotsOf(field), maxLength: slotsOf(field) });
    const spec: ClusteringSpec = {
      name: 'history',
      width,
      by: by.map((field) => {
        const clusters = countOf(field);
        return clusters === undefined
          ? { field, clusters: slotsOf(field) }
          : { field, clusters, map: `clusters-${field}.bin` };
      }),
      terms,
    };
    const manifest = manifestOf(spec, { types, slots, padding });
    return fc.record({
      model: fc.constant(manifest),
      spec: fc.constant(spec),
      clusterOf: fc.record(Object.fromEntries(mapped.map((field) => [field, map(field)]))),
      tables: fc.tuple(...FIELDS.flatMap((field) => [matrix(slotsOf(field)), matrix(slotsOf(field))])).map((tables) => {
        const names = FIELDS.flatMap((field) => [`rows-of-${field}.key`, `rows-of-${field}.value`]);
        return new Map(names.map((name, i) => [name, tables[i] ?? []]));
      }),
      positions: fc.array(fc.record(Object.fromEntries(FIELDS.map((field) => [field, fc.nat(slotsOf(field) - 1)]))), {
        maxLength: 40,
      }),
    });
  })
  .map((scene) => ({ ...scene, model: factoredModel(scene.model, scene.clusterOf) }));

function manifestOf(
  clustering: ClusteringSpec,
  { types, slots, padding }: { types: readonly RouteType[]; slots: readonly number[]; padding: number },
): Manifest {
  const manifest = { ...factoredManifest(), maxPositions: 40 };
  const paddings: RecordField[] = Array.from({ length: padding }, (_, i) => {
    return { kind: 'user', name: `padding-${i}`, type: 'int8', width: 1, scale: [1] };
  });
  const routes: RecordField[] = FIELDS.map((name, i) => {
    return { kind: 'route', name, type: types[i] ?? 'uint8', width: 1, slots: slots[i] ?? 1 };
  });
  manifest.record.fields = [...paddings.slice(0, 1), ...routes, ...paddings.slice(1)];
  manifest.groups = FIELDS.map((field, i) => ({
    name: `rows-of-${field}`,
    pool: { slots: slots[i] ?? 1, keyWidth: clustering.width, valueWidth: clustering.width },
    key: { route: field },
    value: { route: field },
  }));
  manifest.clusterings = [clustering];
  listClusterMaps(manifest);
  const parts = manifest.groups.flatMap(({ name: group }) =>
    (['key', 'value'] as const).map((part) => ({ group, part })),
  );
  manifest.graphs.encode.outputs = manifest.record.fields.map(({ name }) => {
    return { name, role: 'field', field: name, type: 'int64', shape: ['batch', 1] };
  });
  manifest.graphs.gather.inputs = parts.map((one) => ({
    name: nameOf(one),
    role: 'slots',
    ...one,
    type: 'int64',
    shape: [],
  }));
  manifest.graphs.gather.outputs = parts.map((one) => ({
    name: nameOf(one),
    role: 'rows',
    ...one,
    type: 'float32',
    shape: [],
  }));
  return manifest;
}

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
  const gathered = (scene: Scene) =>
    new Map(
      ['items', 'events'].map((group): [string, GatheredRows] => {
        const [key, value] = [
          visitedSlots(scene, { group, part: 'key' }),
          visitedSlots(scene, { group, part: 'value' }),
        ];
        return [group, { keySlots: key.slots, keyRows: key.rows, valueSlots: value.slots, valueRows: value.rows }];
      }),
    );

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
    const feeds = assembleRankKv(model, rowsOf(factored), gathered(factored), candidates);
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
    const feeds = assembleRankKv(split.model, rowsOf(split), gathered(split), candidates);
    expect(feeds.means).toEqual(float32(Float32Array.of(0.75 + 1, 1 + 2), [1, 2]));
  });

  it('gets no clusters for an empty history', () => {
    const empty = { ...factored, positions: [] };
    const shapes = { counts: float32(new Float32Array(0), [0]), means: float32(new Float32Array(0), [0, 2]) };
    expect(assembleRank(model, new Uint8Array(0), candidates, tables)).toMatchObject(shapes);
    expect(assembleRankKv(model, new Uint8Array(0), gathered(empty), candidates)).toMatchObject(shapes);
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
