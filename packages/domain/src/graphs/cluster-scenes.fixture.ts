// Bundles with a clustering, and histories, for tests of cluster means and of position embeddings.
import fc from 'fast-check';
import type { BundleModel } from '../bundle/bundle-model.js';
import { type ClusterMaps, factoredManifest, factoredModel, listClusterMaps } from '../bundle/factored.fixture.js';
import type { ClusteringSpec, Manifest, PoolPart, RecordField } from '../bundle/manifest-schema.js';
import { writeElement } from '../bundle/row-layout.js';
import type { GatheredRows } from './assemble.js';
import type { RowSource } from './embedding-means.js';
import { createPoolTables, type PoolTables } from './pool-tables.js';
import { slotHistogram } from './slot-histogram.js';

type Matrix = readonly (readonly number[])[];
type RouteType = Extract<RecordField, { kind: 'route' }>['type'];

/** A bundle with a clustering, its tables and a history: one slot per route field and position. */
export interface Scene {
  readonly model: BundleModel;
  readonly spec: Pick<ClusteringSpec, 'by' | 'terms' | 'width'>;
  readonly clusterOf: ClusterMaps;
  /** Rows of each pool part, one per slot. */
  readonly tables: ReadonlyMap<string, Matrix>;
  readonly positions: readonly Readonly<Record<string, number>>[];
}

const nameOf = ({ group, part }: PoolPart) => `${group}.${part}`;

/** The factored fixture with rows that tell their slot. */
export function factoredScene(): Scene {
  const model = factoredModel();
  return {
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
}

/** Returns the embedding of a position, with plain lists. */
export function naiveEmbedding({ spec, tables }: Scene, position: Readonly<Record<string, number>>): number[] {
  const row = (part: PoolPart, slot: number) => tables.get(nameOf(part))?.[slot] ?? [];
  const embedding = Array<number>(spec.width).fill(0);
  for (const { field, rows, scale } of spec.terms) {
    const values = row(rows, position[field] ?? 0);
    const factors = scale ? row(scale.rows, position[scale.field] ?? 0) : [];
    for (let j = 0; j < spec.width; j++)
      embedding[j] = Number(embedding[j]) + Number(values[j]) * (1 + (factors[j] ?? 0));
  }
  return embedding;
}

export function specOf({ manifest }: BundleModel): ClusteringSpec {
  const [clustering] = manifest.clusterings ?? [];
  if (!clustering) throw new Error('the fixture has no clustering');
  return clustering;
}

export function rowsOf({ model: { layout }, positions }: Scene): Uint8Array {
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

export function wholeTables(scene: Scene): RowSource {
  return { table: (part) => ({ rows: allSlots(scene, part) }) };
}

/** The tables of a loaded bundle, filled. */
export function poolTables(scene: Scene): PoolTables {
  const tables = createPoolTables(scene.model);
  if (!tables) throw new Error('the rank graph has no clusterings');
  for (const part of tables.parts) tables.table(part).set(allSlots(scene, part));
  return tables;
}

export function simdTables(scene: Scene): RowSource {
  const tables = poolTables(scene);
  return { table: (part) => ({ rows: tables.table(part) }), simd: tables.simd };
}

export function gatheredTables(scene: Scene): RowSource {
  return { table: (part) => visitedSlots(scene, part) };
}

/** The rows of the slots that the history visits, and no others. */
export function visitedSlots(scene: Scene, part: PoolPart) {
  const group = scene.model.manifest.groups.find(({ name }) => name === part.group);
  const route = group?.[part.part]?.route;
  const slots = route === undefined ? new Int32Array(0) : slotHistogram(scene.model, rowsOf(scene), route).slots;
  const table = scene.tables.get(nameOf(part)) ?? [];
  return { slots, rows: Float32Array.from([...slots].flatMap((slot) => table[slot] ?? [])) };
}

/** Returns what the pool service gathers for a history, by group. */
export function gatheredRows(scene: Scene): Map<string, GatheredRows> {
  return new Map(
    ['items', 'events'].map((group) => {
      const [key, value] = [visitedSlots(scene, { group, part: 'key' }), visitedSlots(scene, { group, part: 'value' })];
      return [group, { keySlots: key.slots, keyRows: key.rows, valueSlots: value.slots, valueRows: value.rows }];
    }),
  );
}

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
export const scenes: fc.Arbitrary<Scene> = fc
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
