import type { BundleModel } from '../bundle/bundle-model.js';
import {
  type ClusterInput,
  type GraphInput,
  isClusterInput,
  isPositionInput,
  type KvGroup,
  type PoolPart,
} from '../bundle/manifest-schema.js';
import { newestRows } from '../bundle/row-layout.js';
import { CkvError } from '../errors.js';
import { float32, integers, integerType, type Tensor, type Tensors } from '../tensor.js';
import { clusterMeans, clusterPlaces } from './cluster-means.js';
import type { RowSource } from './embedding-means.js';
import { placesAmongDistinct } from './places.js';
import type { PoolTables } from './pool-tables.js';
import { positionEmbeddings } from './position-embeddings.js';
import { fieldTensor, positionTensor } from './positions.js';
import { routesOf } from './routes.js';
import { slotHistogram } from './slot-histogram.js';

/** The candidates of a rank request: one index per candidate, one column per feature. */
export interface Candidates {
  readonly itemIndices: Int32Array; // [candidates]
  /** Candidate features by name. */
  readonly columns: Readonly<Record<string, Float32Array>>; // each [candidates]
  /** Context features by name. */
  readonly context: Readonly<Record<string, number>>;
}

/** Rows gathered from the pool for one KV group: one row per listed slot. */
export interface GatheredRows {
  readonly keySlots: Int32Array; // [keys]
  readonly keyRows: Float32Array; // [keys * keyWidth]
  readonly valueSlots: Int32Array; // [values]
  readonly valueRows: Float32Array; // [values * valueWidth]
}

/**
 * Fills the rank graph's inputs by role. Except for clusters, the pool is inside the graph. If the graph attends over
 * distinct slots, it takes slots and counts. The scores stay exact: equal keys have equal softmax terms, so one term
 * times its count is their sum.
 * @param rows the history, oldest first, rows of strideBytes; empty for a cold user
 * @param tables required if the graph has clusterings
 * @throws record_corrupt for a route beyond the pool
 */
export function assembleRank(
  model: BundleModel,
  rows: Uint8Array,
  candidates: Candidates,
  tables?: PoolTables,
): Tensors {
  return assembleFromRecord(model, model.manifest.graphs.rank.inputs, { rows, candidates, tables });
}

/**
 * Fills the explain graph's inputs by role. They are those of the rank graph, and the places of single positions.
 * @param rows the history, oldest first, rows of strideBytes; empty for a cold user
 * @param tables required if the graph has clusterings
 * @throws record_corrupt for a route beyond the pool; bug if the bundle has no explain graph
 */
export function assembleExplain(
  model: BundleModel,
  rows: Uint8Array,
  candidates: Candidates,
  tables?: PoolTables,
): Tensors {
  const { explain } = model.manifest.graphs;
  if (!explain) throw new CkvError('bug', `bundle ${model.id} has no explain graph`);
  return assembleFromRecord(model, explain.inputs, { rows, candidates, tables });
}

/** What the inputs of a graph with the pool inside are filled from. */
interface GraphContents {
  readonly rows: Uint8Array;
  readonly candidates: Candidates;
  readonly tables: PoolTables | undefined;
}

function assembleFromRecord(
  model: BundleModel,
  inputs: readonly GraphInput[],
  { rows, candidates, tables }: GraphContents,
): Tensors {
  const histogram = once((field: string) => slotHistogram(model, rows, field));
  const clusterTensor = clusterTensors(model, rows, (clustering) => {
    if (!tables) throw new CkvError('bug', `the pool tables of clustering ${clustering} were not read`);
    return { table: (part) => ({ rows: tables.table(part) }), simd: tables.simd };
  });
  return fill(inputs, (input) => {
    if (isPositionInput(input)) return positionTensor(model, rows, input);
    if (isClusterInput(input)) return clusterTensor(input);
    switch (input.role) {
      case 'distinct_slots': {
        const { slots } = histogram(input.field);
        return integers(integerType(input.type), slots, [slots.length]);
      }
      case 'slot_counts': {
        const { counts } = histogram(input.field);
        return float32(counts, [counts.length]);
      }
      case 'slot_places': {
        const places = placesAmongDistinct(routesOf(model.layout, rows, input.field));
        return integers(integerType(input.type), places, [places.length]);
      }
      default:
        return candidateTensor(input, candidates);
    }
  });
}

/**
 * Assembles K and V, one [pool row, user dims] per position, and fills the rank_kv graph's inputs with them.
 * @param gathered pool rows by group name. Must have every slot of the history
 * @throws record_corrupt for a route beyond the pool
 */
export function assembleRankKv(
  model: BundleModel,
  rows: Uint8Array,
  gathered: ReadonlyMap<string, GatheredRows>,
  candidates: Candidates,
): Tensors {
  const table = ({ group, part }: PoolPart) => {
    const pool = gatheredOf(gathered, group);
    return part === 'key'
      ? { rows: pool.keyRows, slots: pool.keySlots }
      : { rows: pool.valueRows, slots: pool.valueSlots };
  };
  const clusterTensor = clusterTensors(model, rows, () => ({ table }));
  return fill(model.manifest.graphs.rankKv.inputs, (input) => {
    if (isPositionInput(input)) return positionTensor(model, rows, input);
    if (isClusterInput(input)) return clusterTensor(input);
    if (input.role !== 'key' && input.role !== 'value') return candidateTensor(input, candidates);
    const group = model.manifest.groups.find((candidate) => candidate.name === input.group);
    const pool = gatheredOf(gathered, input.group);
    if (!group) throw new CkvError('bug', `no group ${input.group}`);
    return assemblePart(model, rows, group, input.role, pool);
  });
}

function gatheredOf(gathered: ReadonlyMap<string, GatheredRows>, group: string): GatheredRows {
  const pool = gathered.get(group);
  if (!pool) throw new CkvError('bug', `no rows gathered for group ${group}`);
  return pool;
}

function assemblePart(
  model: BundleModel,
  rows: Uint8Array,
  group: KvGroup,
  part: 'key' | 'value',
  pool: GatheredRows,
): Tensor {
  const { route, user } = group[part] ?? {};
  const userDims = user === undefined ? undefined : fieldTensor(model, rows, model.layout.field(user));
  if (route === undefined && userDims) return userDims;
  const [poolWidth, poolSlots, poolRows] =
    part === 'key'
      ? [group.pool.keyWidth, pool.keySlots, pool.keyRows]
      : [group.pool.valueWidth ?? 0, pool.valueSlots, pool.valueRows];
  const rowOfSlot = new Map(Array.from(poolSlots, (slot, row) => [slot, row]));
  const routes = routesOf(model.layout, rows, route ?? '');
  const userWidth = userDims?.shape[1] ?? 0;
  const userValues = userDims?.data ?? []; // [positions * userWidth]
  const width = poolWidth + userWidth;
  const assembled = new Float32Array(routes.length * width); // [positions * (poolWidth + userWidth)]
  routes.forEach((slot, i) => {
    const row = rowOfSlot.get(slot);
    if (row === undefined) throw new CkvError('bug', `slot ${slot} was not gathered`);
    assembled.set(poolRows.subarray(row * poolWidth, (row + 1) * poolWidth), i * width);
    for (let j = 0; j < userWidth; j++) assembled[i * width + poolWidth + j] = Number(userValues[i * userWidth + j]);
  });
  return float32(assembled, [routes.length, width]);
}

/** Returns a function that fills the inputs of clusterings. It computes the means of a clustering once. */
function clusterTensors(
  model: BundleModel,
  rows: Uint8Array,
  sourceOf: (clustering: string) => RowSource,
): (input: ClusterInput) => Tensor {
  const means = once((name: string) => clusterMeans(model, rows, model.clustering(name), sourceOf(name)));
  return (input) => {
    if (input.role === 'position_embeddings') {
      const seen = input.last === undefined ? rows : newestRows(model.layout, rows, input.last);
      const clustering = model.clustering(input.clustering);
      const embeddings = positionEmbeddings(model, seen, clustering, sourceOf(input.clustering));
      return float32(embeddings, [embeddings.length / clustering.width, clustering.width]);
    }
    if (input.role === 'cluster_places') {
      const places = clusterPlaces(model, rows, model.clustering(input.clustering));
      return integers(integerType(input.type), places, [places.length]);
    }
    const { counts, means: rowsOfMeans, width } = means(input.clustering);
    if (input.role === 'cluster_counts') return float32(counts, [counts.length]);
    return float32(rowsOfMeans, [counts.length, width]);
  };
}

function candidateTensor(input: GraphInput, candidates: Candidates): Tensor {
  const count = candidates.itemIndices.length;
  if (input.role === 'candidate_item') return integers(integerType(input.type), candidates.itemIndices, [count]);
  if (input.role === 'candidate_feature') {
    const column = candidates.columns[input.feature]; // [candidates]
    if (column?.length !== count) throw new CkvError('bug', `no column ${input.feature} for ${count} candidates`);
    return float32(column.slice(), [count]);
  }
  if (input.role === 'context_feature') {
    const value = candidates.context[input.feature];
    if (value === undefined) throw new CkvError('bug', `no context feature ${input.feature}`);
    return float32(Float32Array.of(value), [1]);
  }
  throw new CkvError('bug', `input ${input.name} has the role ${input.role}, which no candidate fills`);
}

/** Returns a function that calls `make` once per name and then returns the same result. */
function once<T>(make: (name: string) => T): (name: string) => T {
  const made = new Map<string, T>();
  return (name) => {
    const value = made.get(name) ?? make(name);
    made.set(name, value);
    return value;
  };
}

function fill(inputs: readonly GraphInput[], tensorFor: (input: GraphInput) => Tensor): Tensors {
  return Object.fromEntries(inputs.map((input) => [input.name, tensorFor(input)]));
}
