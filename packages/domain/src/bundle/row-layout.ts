import { CkvError } from '../errors.js';
import { float16Numbers, numberToFloat16 } from '../float16.js';
import { MAX_STRIDE_BYTES } from '../record/record.js';
import type { Manifest, RecordField } from './manifest-schema.js';

const ELEMENT_BYTES = { uint8: 1, int8: 1, uint16: 2, float16: 2, uint24: 3, uint32: 4, float32: 4 } as const;

/** A field of a row, with its offset from the row's first byte. */
export type PlacedField = RecordField & { readonly offsetBytes: number };

/** The layout of a record's rows: fields in manifest order, little-endian, without padding. */
export interface RowLayout {
  readonly strideBytes: number;
  readonly fields: readonly PlacedField[];
  /** Returns a field by name. Throws a `bug` for an unknown name, since the manifest's names were checked. */
  field(name: string): PlacedField;
}

/**
 * Computes the row layout of a bundle.
 * @throws bundle_invalid if a row takes more than 65,535 bytes
 */
export function createRowLayout(manifest: Manifest): RowLayout {
  let offsetBytes = 0;
  const fields = manifest.record.fields.map((field) => {
    const placed = { ...field, offsetBytes };
    offsetBytes += ELEMENT_BYTES[field.type] * field.width;
    return placed;
  });
  if (offsetBytes > MAX_STRIDE_BYTES) {
    const problem = `a row takes ${offsetBytes} bytes, at most ${MAX_STRIDE_BYTES} are allowed`;
    throw new CkvError('bundle_invalid', `record.fields: ${problem}; export narrower fields`);
  }
  const byName = new Map(fields.map((field) => [field.name, field]));
  return {
    strideBytes: offsetBytes,
    fields,
    field(name) {
      const field = byName.get(name);
      if (!field) throw new CkvError('bug', `no record field ${name}`);
      return field;
    },
  };
}

/** Returns a view of the newest `count` rows of a history, oldest first; all rows if the history is shorter. */
export function newestRows({ strideBytes }: RowLayout, rows: Uint8Array, count: number): Uint8Array {
  return rows.subarray(Math.max(0, rows.length - count * strideBytes));
}

/** Writes one element of a field into a row. Quantises int8 elements: round(value / scale), clamped to ±127. */
export function writeElement(
  view: DataView,
  rowOffset: number,
  field: PlacedField,
  index: number,
  value: number,
): void {
  const at = rowOffset + field.offsetBytes + ELEMENT_BYTES[field.type] * index;
  const quantised = field.type === 'int8' ? quantise(value, field.scale?.[index] ?? 1) : value;
  writers[field.type](view, at, quantised);
}

function quantise(value: number, scale: number): number {
  return Math.max(-127, Math.min(127, Math.round(value / scale)));
}

/** From this width on, copying a field's bytes is cheaper than reading its elements one by one. */
const WORTH_A_COPY = 16;

/** Reads a field of every row, row after row, into `into` (length: rows x width). Dequantises int8 elements. */
export function readField(rows: Uint8Array, strideBytes: number, field: PlacedField, into: Float32Array | Int32Array) {
  if (field.kind === 'route') {
    readRoutes(rows, strideBytes, field, into);
    return;
  }
  const { offsetBytes, type, width } = field;
  if (type === 'float32' && into instanceof Float32Array && width >= WORTH_A_COPY) {
    copyField(rows, strideBytes, field, into);
    return;
  }
  if (type === 'int8' || type === 'uint8') {
    const scales = type === 'int8' ? field.scale : undefined;
    // Indexing a byte array is several times faster than calling a DataView's getter.
    const bytes = type === 'int8' ? new Int8Array(rows.buffer, rows.byteOffset, rows.byteLength) : rows;
    for (let row = 0, to = 0; row < rows.length; row += strideBytes) {
      for (let i = 0; i < width; i++) into[to++] = (bytes[row + offsetBytes + i] as number) * (scales?.[i] ?? 1);
    }
    return;
  }
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  if (type === 'float16') {
    const numbers = float16Numbers();
    for (let row = 0, to = 0; row < rows.length; row += strideBytes) {
      let at = row + offsetBytes;
      for (let i = 0; i < width; i++, at += 2) into[to++] = numbers[view.getUint16(at, true)] ?? 0;
    }
    return;
  }
  const read = readers[type];
  const elementBytes = ELEMENT_BYTES[type];
  for (let row = 0, to = 0; row < rows.length; row += strideBytes) {
    let at = row + offsetBytes;
    for (let i = 0; i < width; i++, at += elementBytes) into[to++] = read(view, at);
  }
}

/** Reads a route of every row. Indexing a byte array is several times faster than calling a DataView's getter. */
function readRoutes(
  rows: Uint8Array,
  strideBytes: number,
  { offsetBytes, type }: Extract<PlacedField, { kind: 'route' }>,
  into: Float32Array | Int32Array,
): void {
  const bytesPerRoute = ELEMENT_BYTES[type];
  for (let at = offsetBytes, to = 0; at < rows.length; at += strideBytes, to++) {
    let slot = rows[at] as number;
    if (bytesPerRoute > 1) slot |= (rows[at + 1] as number) << 8;
    if (bytesPerRoute > 2) slot |= (rows[at + 2] as number) << 16;
    if (bytesPerRoute > 3) slot |= (rows[at + 3] as number) << 24;
    into[to] = slot;
  }
}

/**
 * Writes a float16 or float32 field of every row.
 * @param values elements of the field's type, row after row (length: rows x width)
 */
export function writeField(
  rows: Uint8Array,
  strideBytes: number,
  { offsetBytes, width }: PlacedField,
  values: Uint16Array | Float32Array,
): void {
  const fieldBytes = width * values.BYTES_PER_ELEMENT;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  for (let at = offsetBytes, from = 0; from < bytes.length; at += strideBytes, from += fieldBytes) {
    rows.set(bytes.subarray(from, from + fieldBytes), at);
  }
}

/**
 * Copies a float16 or float32 field of every row, without conversion.
 * @param into receives elements of the field's type, row after row (length: rows x width)
 */
export function copyField(
  rows: Uint8Array,
  strideBytes: number,
  { offsetBytes, width }: PlacedField,
  into: Uint16Array | Float32Array,
): void {
  const fieldBytes = width * into.BYTES_PER_ELEMENT;
  const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
  const plain = new Uint8Array(rows.buffer, rows.byteOffset, rows.length); // a Buffer's subarray is much slower
  for (let at = offsetBytes, to = 0; to < bytes.length; at += strideBytes, to += fieldBytes) {
    bytes.set(plain.subarray(at, at + fieldBytes), to);
  }
}

const readers = {
  uint16: (view: DataView, at: number) => view.getUint16(at, true),
  uint32: (view: DataView, at: number) => view.getUint32(at, true),
  float32: (view: DataView, at: number) => view.getFloat32(at, true),
} as const;

const writers: Record<RecordField['type'], (view: DataView, at: number, value: number) => void> = {
  uint8: (view, at, value) => view.setUint8(at, value),
  int8: (view, at, value) => view.setInt8(at, value),
  uint16: (view, at, value) => view.setUint16(at, value, true),
  uint24: (view, at, value) => {
    view.setUint16(at, value, true);
    view.setUint8(at + 2, value >> 16);
  },
  uint32: (view, at, value) => view.setUint32(at, value, true),
  float16: (view, at, value) => view.setUint16(at, numberToFloat16(value), true),
  float32: (view, at, value) => view.setFloat32(at, value, true),
};
