import { type BundleModel, type PlacedField, type RowLayout, readField } from '@collectivekv/domain';
import type { PositionContents } from './explanation.js';

/** The route field that holds a position's item, if it has as many slots as the catalogue has items. */
const ITEM_FIELD = 'item';

/**
 * Returns what the row of a position holds: its item id, its routes and its raw values.
 * @param rows the history, oldest first, rows of strideBytes
 */
export function contentsOf(
  { layout, items, manifest }: BundleModel,
  rows: Uint8Array,
  index: number,
): PositionContents {
  const row = rowAt(layout, rows, index);
  const values = layout.fields
    .filter(({ kind }) => kind !== 'user')
    .map((field) => ({ field: field.name, value: numberOf(layout, row, field) }));
  const item = layout.fields.find((field) => {
    return field.kind === 'route' && field.name === ITEM_FIELD && field.slots === manifest.items.count;
  });
  const itemIndex = values.find(({ field }) => field === item?.name)?.value ?? 0;
  return { itemId: items.idAt(itemIndex), values };
}

/** Returns the history without one position. */
export function withoutPosition({ strideBytes }: RowLayout, rows: Uint8Array, index: number): Uint8Array {
  return Buffer.concat([rows.subarray(0, index * strideBytes), rows.subarray((index + 1) * strideBytes)]);
}

function rowAt({ strideBytes }: RowLayout, rows: Uint8Array, index: number): Uint8Array {
  return rows.subarray(index * strideBytes, (index + 1) * strideBytes);
}

function numberOf({ strideBytes }: RowLayout, row: Uint8Array, field: PlacedField): number {
  const into = field.kind === 'route' ? new Int32Array(1) : new Float32Array(1);
  readField(row, strideBytes, field, into);
  const [value = 0] = into;
  return field.kind === 'route' ? value >>> 0 : value;
}
