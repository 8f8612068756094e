import type { BundleModel } from '../bundle/bundle-model.js';
import { beyondPool, type RouteField, routeField, routesOf } from './routes.js';

/** The distinct slots that a history visits, with counts. */
export interface SlotHistogram {
  /** Distinct slots, ascending. */
  readonly slots: Int32Array; // [distinct]
  /** Number of positions per slot. */
  readonly counts: Float32Array; // [distinct]
}

/**
 * Counts of the histogram that is being made, for routes of one or two bytes. All 0 between calls, so that no call has
 * to clear a large pool's counts.
 */
const perSlot = new Uint32Array(65_536);

/**
 * Counts the positions of every slot that a route field visits.
 * @throws record_corrupt for a route beyond the pool
 */
export function slotHistogram({ layout }: BundleModel, rows: Uint8Array, fieldName: string): SlotHistogram {
  const field = routeField(layout.field(fieldName));
  if (field.type === 'uint24' || field.type === 'uint32') return sortedHistogram(routesOf(layout, rows, fieldName));
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

/** Counts sorted routes. Pools of wide routes have too many slots for a counter per slot. Sorts `routes` in place. */
function sortedHistogram(routes: Int32Array): SlotHistogram {
  routes.sort();
  const counts = new Float32Array(routes.length);
  let distinct = 0;
  for (const slot of routes) {
    if (distinct === 0 || routes[distinct - 1] !== slot) routes[distinct++] = slot;
    counts[distinct - 1] = (counts[distinct - 1] as number) + 1;
  }
  return { slots: routes.slice(0, distinct), counts: counts.slice(0, distinct) };
}
