import type { BundleModel } from './bundle-model.js';
import { copyField, newestRows, type PlacedField, readField } from './layout.js';
import type { GraphInput } from './manifest.js';
import { beyondPool, routeField } from './slot-histogram.js';
import { float32, integers, integerType, type Tensor } from './tensor.js';

/** An input over a history's positions, oldest first. */
export type PositionInput = Extract<GraphInput, { role: 'routes' | 'user' | 'raw' }>;

/** True for an input that has an entry for every position. */
export function isPositionInput(input: GraphInput): input is PositionInput {
  return input.role === 'routes' || input.role === 'user' || input.role === 'raw';
}

/**
 * Fills an input over positions: the whole history, or its newest `last` positions, fewer where it is shorter.
 * @param rows the history, oldest first, strideBytes a row
 * @throws record_corrupt for a route beyond the pool
 */
export function positionTensor(model: BundleModel, rows: Uint8Array, input: PositionInput): Tensor {
  const seen = input.last === undefined ? rows : newestRows(model.layout, rows, input.last);
  if (input.role !== 'routes') {
    const field = model.layout.field(input.field);
    return input.type === 'float16' ? float16Tensor(model, seen, field) : fieldTensor(model, seen, field);
  }
  const routes = routesOf(model, seen, input.field);
  return integers(integerType(input.type), routes, [routes.length]);
}

/** The slots of a route field, one a position. Throws record_corrupt for one beyond the pool. */
export function routesOf({ layout }: BundleModel, rows: Uint8Array, fieldName: string): Int32Array {
  const field = routeField(layout.field(fieldName));
  const routes = new Int32Array(rows.length / layout.strideBytes); // [positions]
  readField(rows, layout.strideBytes, field, routes);
  for (const slot of routes) if (slot >= field.slots) throw beyondPool(field, slot);
  return routes;
}

/** A field of every position, dequantised. */
export function fieldTensor({ layout }: BundleModel, rows: Uint8Array, field: PlacedField): Tensor {
  const positions = rows.length / layout.strideBytes;
  const values = new Float32Array(positions * field.width); // [positions * width]
  readField(rows, layout.strideBytes, field, values);
  return float32(values, [positions, field.width]);
}

/** A float16 field of every position, as it is in the rows. */
function float16Tensor({ layout }: BundleModel, rows: Uint8Array, field: PlacedField): Tensor {
  const positions = rows.length / layout.strideBytes;
  const bits = new Uint16Array(positions * field.width); // [positions * width]
  copyField(rows, layout.strideBytes, field, bits);
  return { type: 'float16', data: bits, shape: [positions, field.width] };
}
