import type { BundleModel } from '../bundle/bundle-model.js';
import type { PlacedField } from '../bundle/row-layout.js';
import { CkvError } from '../errors.js';

/** The distinct slots that a history visits, with counts. */
export interface SlotHistogram {
  /** Distinct slots, ascending. */
  readonly slots: Int32Array; // [distinct]
  /** Number of positions per slot. */
  readonly counts: Float32Array; // [distinct]
}

/** A route field of a bundle's rows. */
export type RouteField = Extract<PlacedField, { kind: 'route' }>;

/**
 * Counts of the histogram that is being made. All 0 between calls, so that no call has to clear a large pool's counts.
 */
const perSlot = new Uint32Array(65_536);

/**
 * Counts the positions of every slot that a route field visits.
 * @throws record_corrupt for a route beyond the pool
 */
export function slotHistogram({ layout }: BundleModel, rows: Uint8Array, fieldName: string): SlotHistogram {
  const field = routeField(layout.field(fieldName));
  const { distinct, end } = countSlots(rows, layout.strideBytes, field);
  if (end > field.slots) {
    perSlot.fill(0, 0, end);
    throw beyondPool(field, end - 1);
  }
  const slots = new Int32Array(distinct);
  const counts = new Float32Array(distinct);
  for (let slot = 0, to = 0; to < distinct; slot++) {
    const count = perSlot[slot] as number;
    if (count === 0) continue;
    slots[to] = slot;
    counts[to++] = count;
    perSlot[slot] = 0;
  }
  return { slots, counts };
}

/** Adds to {@link perSlot}. The returned `end` is the highest slot plus 1. */
function countSlots(rows: Uint8Array, strideBytes: number, field: RouteField): { distinct: number; end: number } {
  const wide = field.type === 'uint16';
  let distinct = 0;
  let highest = -1;
  for (let at = field.offsetBytes; at < rows.length; at += strideBytes) {
    let slot = rows[at] as number;
    if (wide) slot |= (rows[at + 1] as number) << 8;
    const count = perSlot[slot] as number;
    if (count === 0) distinct++;
    if (slot > highest) highest = slot;
    perSlot[slot] = count + 1;
  }
  return { distinct, end: highest + 1 };
}

/** Returns the field as a route field. Throws a `bug` for another kind, since the manifest was checked. */
export function routeField(field: PlacedField): RouteField {
  if (field.kind === 'route') return field;
  throw new CkvError('bug', `${field.name} is not a route field`);
}

/** Returns the record_corrupt error for a route beyond its pool. */
export function beyondPool({ name, slots }: RouteField, slot: number): CkvError {
  return new CkvError('record_corrupt', `a row's ${name} is ${slot}, the pool has ${slots} slots`);
}
