import type { BundleModel } from './bundle-model.js';
import { CkvError } from './errors.js';
import type { PlacedField } from './layout.js';

/** The slots a history visits. */
export interface SlotHistogram {
  /** Ascending. */
  readonly slots: Int32Array; // [distinct]
  /** Positions a slot. */
  readonly counts: Float32Array; // [distinct]
}

/** A route field of a bundle's rows. */
export type RouteField = Extract<PlacedField, { kind: 'route' }>;

/** Counts while a histogram is made, all 0 between calls: a request should not pay for clearing a large pool's worth. */
const perSlot = new Uint32Array(65_536);

/**
 * Distinct slots of a route field and how many positions take each.
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

/** Counts into {@link perSlot}. `end` is behind the highest slot. */
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

/** The field as a route, or a `bug`: names were checked with the manifest. */
export function routeField(field: PlacedField): RouteField {
  if (field.kind === 'route') return field;
  throw new CkvError('bug', `${field.name} is no route field`);
}

/** The error for a route that its pool does not have. */
export function beyondPool({ name, slots }: RouteField, slot: number): CkvError {
  return new CkvError('record_corrupt', `a row's ${name} is ${slot}, of ${slots} slots`);
}
