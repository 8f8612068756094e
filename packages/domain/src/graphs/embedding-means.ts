import type { Clustering } from '../bundle/clustering.js';
import type { PoolPart } from '../bundle/manifest-schema.js';
import type { RowLayout } from '../bundle/row-layout.js';
import { CkvError } from '../errors.js';
import { sumsBytes } from './pool-tables.js';
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

/** Returns the routes of a field, one per position. Reads each field once. */
export type RoutesBy = (field: string) => Int32Array;

/**
 * Returns a reader of a history's routes.
 * @throws record_corrupt for a route beyond the pool, when a field is read
 */
export function readRoutes(layout: RowLayout, rows: Uint8Array): RoutesBy {
  const known = new Map<string, Int32Array>();
  return (field) => {
    const routes = known.get(field) ?? routesOf(layout, rows, field);
    known.set(field, routes);
    return routes;
  };
}

/** Which mean each position of a history belongs to. */
export interface Placement {
  /** The place of each position if positions are sorted by mean. */
  readonly places: Int32Array; // [positions]
  /** Positions up to the end of each mean. */
  readonly ends: Int32Array; // [means]
}

/**
 * Computes means of the embeddings of positions, in one pass of additions per term. The embedding of a position is the
 * sum over the clustering's terms of row * (1 + scale row).
 * @returns means // [means * width]
 */
export function embeddingMeans(
  clustering: Clustering,
  routesBy: RoutesBy,
  { places, ends }: Placement,
  source: RowSource,
): Float32Array {
  const { width, terms } = clustering;
  const adder = adderFor(source, clustering, sumsBytes(clustering, places.length, ends.length));
  const addend = (field: string, part: PoolPart): Addend => {
    const { rows, slots } = source.table(part);
    const rowOf = adder.integers(places.length);
    fillRows(rowOf, routesBy(field), places, slots);
    return { table: adder.reach(rows), rowOf };
  };
  const into: Sums = { sums: adder.zeros(ends.length * width), ends: adder.integers(ends.length), width };
  into.ends.set(ends);
  for (const { field, rows, scale } of terms) {
    adder.add(into, addend(field, rows), scale && addend(scale.field, scale.rows));
  }
  return adder.means(into);
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
