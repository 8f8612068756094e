import type { BundleModel } from '../bundle/bundle-model.js';
import type { Clustering } from '../bundle/clustering.js';
import type { PoolPart } from '../bundle/manifest-schema.js';
import { CkvError } from '../errors.js';
import { routesOf } from './routes.js';

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

/** One part of a sum over positions: a row for each position, times 1 plus a scale. */
interface Addend {
  readonly table: Float32Array;
  /** The row of each position, positions by cluster. */
  readonly rowOf: Int32Array; // [positions]
}

/**
 * Computes the counts and the mean position embeddings of a history's clusters, in one pass of additions per term.
 * The embedding of a position is the sum over the clustering's terms of row * (1 + scale row).
 * @param rows the history, rows of strideBytes. Its order does not matter
 * @param tableOf returns the rows of a pool part: all of its slots, or at least the slots of the history
 * @throws record_corrupt for a route beyond the pool
 */
export function clusterMeans(
  { layout }: BundleModel,
  rows: Uint8Array,
  { by, clusterOf, clusters, width, terms }: Clustering,
  tableOf: (part: PoolPart) => PoolTable,
): ClusterMeans {
  const routes = new Map<string, Int32Array>();
  const routesBy = (field: string): Int32Array => {
    const known = routes.get(field) ?? routesOf(layout, rows, field);
    routes.set(field, known);
    return known;
  };
  const { counts, ends, places } = sortByCluster(routesBy(by.field), clusterOf, clusters);
  const addend = (field: string, part: PoolPart): Addend => {
    const table = tableOf(part);
    return { table: table.rows, rowOf: rowsInOrder(routesBy(field), places, table.slots) };
  };
  const sums = clearedSums(counts.length * width);
  for (const { field, rows: part, scale } of terms) {
    const term = addend(field, part);
    if (scale) addScaledRows(sums, ends, width, term, addend(scale.field, scale.rows));
    else addRows(sums, ends, width, term);
  }
  const means = new Float32Array(counts.length * width); // [visited * width]
  for (let cluster = 0, to = 0; cluster < counts.length; cluster++) {
    const count = counts[cluster] as number;
    for (const end = to + width; to < end; to++) means[to] = (sums[to] as number) / count;
  }
  return { counts, means, width };
}

/** Sums of the means that are being made. Reused, because its length is known only when clusters were counted. */
let sumsScratch = new Float64Array(0);

function clearedSums(length: number): Float64Array {
  if (sumsScratch.length < length) sumsScratch = new Float64Array(length);
  return sumsScratch.fill(0, 0, length);
}

/** Counts clusters and finds each position's place if positions are sorted by cluster. */
function sortByCluster(slots: Int32Array, clusterOf: Clustering['clusterOf'], clusters: number) {
  const next = new Int32Array(clusters); // counts, then the next place of each cluster
  const places = new Int32Array(slots.length); // clusters, then places; [positions]
  let visited = 0;
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as number;
    const cluster = clusterOf ? (clusterOf[slot] as number) : slot;
    const count = next[cluster] as number;
    if (count === 0) visited++;
    next[cluster] = count + 1;
    places[i] = cluster;
  }
  const counts = new Float32Array(visited);
  /** Returns the end of each visited cluster's places. */
  const ends = new Int32Array(visited);
  for (let cluster = 0, to = 0, end = 0; to < visited; cluster++) {
    const count = next[cluster] as number;
    if (count === 0) continue;
    next[cluster] = end;
    end += count;
    counts[to] = count;
    ends[to++] = end;
  }
  for (let i = 0; i < places.length; i++) {
    const cluster = places[i] as number;
    const place = next[cluster] as number;
    next[cluster] = place + 1;
    places[i] = place;
  }
  return { counts, ends, places };
}

/** Returns the row of each position's slot, positions by cluster. */
function rowsInOrder(slots: Int32Array, places: Int32Array, listed: Int32Array | undefined): Int32Array {
  const rowOf = new Int32Array(slots.length); // [positions]
  const rowOfSlot = listed ? indexRows(listed) : undefined;
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as number;
    rowOf[places[i] as number] = rowOfSlot ? rowOfSlot(slot) : slot;
  }
  return rowOf;
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

function addRows(sums: Float64Array, ends: Int32Array, width: number, { table, rowOf }: Addend): void {
  for (let cluster = 0, place = 0; cluster < ends.length; cluster++) {
    for (const end = ends[cluster] as number; place < end; place++) {
      let from = (rowOf[place] as number) * width;
      let to = cluster * width;
      for (const stop = to + width; to < stop; to++, from++) sums[to] = (sums[to] as number) + (table[from] as number);
    }
  }
}

function addScaledRows(
  sums: Float64Array,
  ends: Int32Array,
  width: number,
  { table, rowOf }: Addend,
  scale: Addend,
): void {
  for (let cluster = 0, place = 0; cluster < ends.length; cluster++) {
    for (const end = ends[cluster] as number; place < end; place++) {
      let from = (rowOf[place] as number) * width;
      let scaleFrom = (scale.rowOf[place] as number) * width;
      let to = cluster * width;
      for (const stop = to + width; to < stop; to++, from++, scaleFrom++) {
        sums[to] = (sums[to] as number) + (table[from] as number) * (1 + (scale.table[scaleFrom] as number));
      }
    }
  }
}
