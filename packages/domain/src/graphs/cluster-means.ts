import type { BundleModel } from '../bundle/bundle-model.js';
import type { ClusteredField, Clustering } from '../bundle/clustering.js';
import type { PoolPart } from '../bundle/manifest-schema.js';
import { CkvError } from '../errors.js';
import { meansBytes } from './pool-tables.js';
import { routesOf } from './routes.js';
import {
  type Addend,
  plainAdder,
  type RowAdder,
  type SimdAdder,
  type Sums,
  sharedSimdAdder,
  simdBytes,
} from './row-sums.js';

/** Counts and mean position embeddings of the clusters that a history visits, clusters ascending. */
export interface ClusterMeans {
  /** Positions per visited cluster. */
  readonly counts: Float32Array; // [visited]
  readonly means: Float32Array; // [visited * width]
  readonly width: number;
}

/** Rows of one part of a KV group's pool. */
export interface PoolTable {
  readonly rows: Float32Array; // [listed * width]
  /** The slot of each row, ascending. Undefined if the table has every slot, in order. */
  readonly slots?: Int32Array | undefined; // [listed]
}

/** Where the rows of pool parts are. */
export interface RowSource {
  /** Returns the rows of a part: all of its slots, or at least the slots of the history. */
  table(part: PoolPart): PoolTable;
  /** Adds the rows up, if all tables are in its memory. */
  readonly simd?: SimdAdder | undefined;
}

/**
 * Computes the counts and the mean position embeddings of a history's clusters, in one pass of additions per term.
 * The embedding of a position is the sum over the clustering's terms of row * (1 + scale row).
 * @param rows the history, rows of strideBytes. Its order does not matter
 * @throws record_corrupt for a route beyond the pool
 */
export function clusterMeans(
  { layout }: BundleModel,
  rows: Uint8Array,
  clustering: Clustering,
  source: RowSource,
): ClusterMeans {
  const { by, clusters, width, terms } = clustering;
  const routes = new Map<string, Int32Array>();
  const routesBy = (field: string): Int32Array => {
    const known = routes.get(field) ?? routesOf(layout, rows, field);
    routes.set(field, known);
    return known;
  };
  const positionCount = rows.length / layout.strideBytes;
  const { counts, places } = sortByCluster(clustersOf(by, routesBy, positionCount), clusters);
  const visited = counts.length;
  const adder = adderFor(source, clustering, meansBytes(clustering, places.length, visited));
  const addend = (field: string, part: PoolPart): Addend => {
    const { rows, slots } = source.table(part);
    const rowOf = adder.integers(places.length);
    fillRows(rowOf, routesBy(field), places, slots);
    return { table: adder.reach(rows), rowOf };
  };
  const into: Sums = { sums: adder.zeros(visited * width), ends: adder.integers(visited), width };
  counts.reduce((end, count, cluster) => {
    into.ends[cluster] = end + count;
    return end + count;
  }, 0);
  for (const { field, rows: part, scale } of terms) {
    adder.add(into, addend(field, part), scale && addend(scale.field, scale.rows));
  }
  const means = new Float32Array(visited * width); // [visited * width]
  for (let cluster = 0, i = 0; cluster < visited; cluster++) {
    const count = counts[cluster] as number;
    for (const end = i + width; i < end; i++) means[i] = (into.sums[i] as number) / count;
  }
  return { counts, means, width };
}

/** Returns the SIMD adder of the tables, or one for gathered rows, if `bytes` fit. Else returns the plain adder. */
function adderFor(source: RowSource, { width, terms }: Clustering, bytes: number): RowAdder {
  if (source.simd?.begin(bytes, width)) return source.simd;
  const tables = terms.flatMap(({ rows, scale }) => (scale ? [rows, scale.rows] : [rows])).map(source.table);
  if (!tables.every(({ slots }) => slots)) return plainAdder;
  const gatheredBytes = tables.reduce((sum, { rows }) => sum + simdBytes(rows.length), bytes);
  const simd = sharedSimdAdder(gatheredBytes);
  return simd?.begin(gatheredBytes, width) ? simd : plainAdder;
}

/** Returns the cluster of each position: the number whose digits are the clusters of its fields' slots. */
function clustersOf(
  by: readonly ClusteredField[],
  routesBy: (field: string) => Int32Array,
  positionCount: number,
): Int32Array {
  const found = new Int32Array(positionCount);
  for (const { field, clusters, clusterOf } of by) {
    const slots = routesBy(field);
    for (let i = 0; i < found.length; i++) {
      const slot = slots[i] as number;
      found[i] = (found[i] as number) * clusters + (clusterOf ? (clusterOf[slot] as number) : slot);
    }
  }
  return found;
}

/**
 * Counts of the clusters of the history at hand, then the next place of each. All 0 between calls, so that no call has
 * to clear the entries of a large clustering.
 */
let clusterScratch = new Int32Array(0);

/**
 * Counts clusters and finds each position's place if positions are sorted by cluster.
 * @param places the cluster of each position; replaced by the places // [positions]
 */
function sortByCluster(places: Int32Array, clusters: number) {
  if (clusterScratch.length < clusters) clusterScratch = new Int32Array(clusters);
  const next = clusterScratch;
  let visitedCount = 0;
  for (let i = 0; i < places.length; i++) {
    const cluster = places[i] as number;
    const count = next[cluster] as number;
    if (count === 0) visitedCount++;
    next[cluster] = count + 1;
  }
  const visited = new Int32Array(visitedCount);
  const counts = new Float32Array(visitedCount);
  for (let cluster = 0, to = 0, end = 0; to < visitedCount; cluster++) {
    const count = next[cluster] as number;
    if (count === 0) continue;
    next[cluster] = end;
    end += count;
    visited[to] = cluster;
    counts[to++] = count;
  }
  for (let i = 0; i < places.length; i++) {
    const cluster = places[i] as number;
    const place = next[cluster] as number;
    next[cluster] = place + 1;
    places[i] = place;
  }
  for (const cluster of visited) next[cluster] = 0;
  return { counts, places };
}

/** Fills in the row of each position's slot, positions by cluster. */
function fillRows(rowOf: Int32Array, slots: Int32Array, places: Int32Array, listed: Int32Array | undefined): void {
  const rowOfSlot = listed && indexRows(listed);
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as number;
    rowOf[places[i] as number] = rowOfSlot ? rowOfSlot(slot) : slot;
  }
}

/** The row of a slot, for slots of the last list that was indexed. Other slots hold rows of earlier lists. */
let rowScratch = new Int32Array(0);

/**
 * Returns a function from slot to row. It takes no time per slot of the pool: an entry counts only if its row has the
 * slot, so entries of earlier lists need not be cleared.
 */
function indexRows(listed: Int32Array): (slot: number) => number {
  const slotCount = (listed.at(-1) ?? -1) + 1;
  if (rowScratch.length < slotCount) rowScratch = new Int32Array(slotCount);
  const rows = rowScratch;
  for (let row = 0; row < listed.length; row++) rows[listed[row] as number] = row;
  return (slot) => {
    const row = rows[slot] as number;
    if (listed[row] !== slot) throw new CkvError('bug', `slot ${slot} was not gathered`);
    return row;
  };
}
