import { type PlacedField, type RowLayout, readField } from '../bundle/row-layout.js';
import { CkvError } from '../errors.js';

/** A route field of a bundle's rows. */
export type RouteField = Extract<PlacedField, { kind: 'route' }>;

/**
 * Reads the routes of every position.
 * @throws record_corrupt for a route beyond the pool
 */
export function routesOf(layout: RowLayout, rows: Uint8Array, fieldName: string): Int32Array {
  const field = routeField(layout.field(fieldName));
  const routes = new Int32Array(rows.length / layout.strideBytes); // [positions]
  readField(rows, layout.strideBytes, field, routes);
  const { slots } = field;
  for (let i = 0; i < routes.length; i++) {
    const slot = (routes[i] as number) >>> 0;
    if (slot >= slots) throw beyondPool(field, slot);
  }
  return routes;
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
