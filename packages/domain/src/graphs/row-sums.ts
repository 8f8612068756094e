import { ROW_SUMS } from '../generated/row-sums.js';

/** Rows of a table, one for each position. */
export interface Addend {
  readonly table: Float32Array; // [rows * width]
  /** The row of each position. Positions are sorted by cluster. */
  readonly rowOf: Int32Array; // [positions]
}

/** The end of each cluster's positions, and the sums to add to. */
export interface Sums {
  readonly sums: Float64Array; // [clusters * width]
  /** The number of positions up to the end of each cluster. No cluster is empty. */
  readonly ends: Int32Array; // [clusters]
  readonly width: number;
}

/** Adds up rows by cluster. Both implementations give the same sums, except for rounding. */
export interface RowAdder {
  /** Returns an array for `rowOf` or `ends`. It must not be used after the next `begin`. */
  integers(length: number): Int32Array;
  /** Returns sums of 0. They must not be used after the next `begin`. */
  zeros(length: number): Float64Array;
  /** Returns the table where `add` can read it: itself or a copy. A copy must not be used after the next `begin`. */
  reach(table: Float32Array): Float32Array;
  /** Adds the row of every position, times 1 + its scale row if there is a scale, to the sum of its cluster. */
  add(into: Sums, rows: Addend, scale: Addend | undefined): void;
  /** Returns the sums divided by the numbers of positions. Replaces the sums. */
  means(into: Sums): Float32Array; // [clusters * width]
}

/** Adds with plain loops, from tables anywhere in memory. */
export const plainAdder: RowAdder = {
  integers: (length) => new Int32Array(length),
  zeros: (length) => new Float64Array(length),
  reach: (table) => table,
  add({ sums, ends, width }, rows, scale) {
    for (let cluster = 0, place = 0; cluster < ends.length; cluster++) {
      const sum = sums.subarray(cluster * width, (cluster + 1) * width);
      for (const end = ends[cluster] as number; place < end; place++) {
        if (scale)
          addScaledRow(sum, rows.table, rows.rowOf[place] as number, scale.table, scale.rowOf[place] as number);
        else addRow(sum, rows.table, rows.rowOf[place] as number);
      }
    }
  },
  means({ sums, ends, width }) {
    const means = new Float32Array(sums.length);
    for (let cluster = 0, start = 0, i = 0; cluster < ends.length; cluster++) {
      const stop = ends[cluster] as number;
      const inverse = 1 / (stop - start);
      start = stop;
      for (const end = i + width; i < end; i++) means[i] = (sums[i] as number) * inverse;
    }
    return means;
  },
};

function addRow(sum: Float64Array, table: Float32Array, row: number): void {
  for (let i = 0, from = row * sum.length; i < sum.length; i++, from++) {
    sum[i] = (sum[i] as number) + (table[from] as number);
  }
}

function addScaledRow(
  sum: Float64Array,
  table: Float32Array,
  row: number,
  scales: Float32Array,
  scaleRow: number,
): void {
  for (let i = 0, from = row * sum.length, at = scaleRow * sum.length; i < sum.length; i++, from++, at++) {
    sum[i] = (sum[i] as number) + (table[from] as number) * (1 + (scales[at] as number));
  }
}

/** Adds with SIMD instructions, from tables in a memory of its own. Other tables are copied into it. */
export interface SimdAdder extends RowAdder {
  /** Returns a table of zeros. All tables must be created before the first `begin`. */
  createTable(length: number): Float32Array;
  /** Frees the arrays of the last call. Returns true if arrays of `bytes` fit, and rows of `width` can be added. */
  begin(bytes: number, width: number): boolean;
}

/** Dimensions that the assembled functions add at a time. */
const SIMD_WIDTH = 16;
/** Every array starts at a multiple of a cache line. */
const ALIGN_BYTES = 64;
const PAGE_BYTES = 65_536;

// @types/node has no types of WebAssembly, and those of browsers bring the whole DOM.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

/** The functions of row-sums.wat. Parameters are offsets in the memory. */
interface RowSumsExports {
  addRows(sums: number, ends: number, clusters: number, rowBytes: number, table: number, rowOf: number): void;
  addScaledRows(...parameters: [...Parameters<RowSumsExports['addRows']>, scales: number, scaleRowOf: number]): void;
  divideSums(sums: number, ends: number, clusters: number, rowBytes: number): void;
}

/**
 * Returns the bytes that an array of 4-byte elements takes in the memory of a {@link SimdAdder}; a sum counts twice.
 */
export function simdBytes(length: number): number {
  return Math.ceil((4 * length) / ALIGN_BYTES) * ALIGN_BYTES;
}

/**
 * Creates an adder with memory for tables and arrays of `bytes` in total, as `simdBytes` counts them. The memory does
 * not grow, so tables stay where they are.
 * @returns undefined if they exceed 4 GiB, or if this machine has no SIMD instructions
 */
export function createSimdAdder(bytes: number): SimdAdder | undefined {
  const pages = Math.ceil(bytes / PAGE_BYTES);
  let buffer: ArrayBuffer;
  let code: RowSumsExports;
  try {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const module = new WebAssembly.Module(Buffer.from(ROW_SUMS, 'base64'));
    code = new WebAssembly.Instance(module, { rows: { memory } }).exports as RowSumsExports;
    buffer = memory.buffer;
  } catch {
    return undefined;
  }
  let tablesEnd = 0;
  let end = 0;
  const place = (length: number): number => {
    const at = end;
    end += simdBytes(length);
    return at;
  };
  return {
    createTable(length) {
      const table = new Float32Array(buffer, place(length), length);
      tablesEnd = end;
      return table;
    },
    begin(needed, width) {
      end = tablesEnd;
      return width % SIMD_WIDTH === 0 && end + needed <= buffer.byteLength;
    },
    integers: (length) => new Int32Array(buffer, place(length), length),
    zeros: (length) => new Float64Array(buffer, place(2 * length), length).fill(0),
    reach(table) {
      if (table.buffer === buffer) return table;
      const copy = new Float32Array(buffer, place(table.length), table.length);
      copy.set(table);
      return copy;
    },
    add({ sums, ends, width }, { table, rowOf }, scale) {
      const rowBytes = 4 * width;
      const { byteOffset } = sums;
      const rows = [table.byteOffset, rowOf.byteOffset] as const;
      if (!scale) code.addRows(byteOffset, ends.byteOffset, ends.length, rowBytes, ...rows);
      else {
        const scales = [scale.table.byteOffset, scale.rowOf.byteOffset] as const;
        code.addScaledRows(byteOffset, ends.byteOffset, ends.length, rowBytes, ...rows, ...scales);
      }
    },
    means({ sums, ends, width }) {
      code.divideSums(sums.byteOffset, ends.byteOffset, ends.length, 4 * width);
      return new Float32Array(buffer, sums.byteOffset, sums.length).slice();
    },
  };
}

/** Bytes above which gathered rows are not copied for SIMD instructions, so that no request keeps much memory. */
const MOST_SHARED_BYTES = 64 * 1024 * 1024;
let shared: { readonly simd: SimdAdder | undefined; readonly bytes: number } = { simd: undefined, bytes: 0 };

/** Returns an adder without tables that has room for `bytes`, as `simdBytes` counts them. All requests share it. */
export function sharedSimdAdder(bytes: number): SimdAdder | undefined {
  if (bytes > MOST_SHARED_BYTES) return undefined;
  if (bytes > shared.bytes) {
    const room = Math.min(2 * bytes, MOST_SHARED_BYTES);
    shared = { simd: createSimdAdder(room), bytes: room };
  }
  return shared.simd;
}
