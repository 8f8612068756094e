import type { BundleModel } from '../bundle/bundle-model.js';
import type { PositionInput } from '../bundle/manifest-schema.js';
import { copyField, newestRows, type PlacedField, readField } from '../bundle/row-layout.js';
import { float32, integers, integerType, type Tensor } from '../tensor.js';
import { routesOf } from './routes.js';

/**
 * Fills an input over positions with the whole history, or with its newest `last` positions.
 * @param rows the history, oldest first, rows of strideBytes
 * @throws record_corrupt for a route beyond the pool
 */
export function positionTensor(model: BundleModel, rows: Uint8Array, input: PositionInput): Tensor {
  const seen = input.last === undefined ? rows : newestRows(model.layout, rows, input.last);
  if (input.role !== 'routes') {
    const field = model.layout.field(input.field);
    return input.type === 'float16' ? float16Tensor(model, seen, field) : fieldTensor(model, seen, field);
  }
  const routes = routesOf(model.layout, seen, input.field);
  return integers(integerType(input.type), routes, [routes.length]);
}

/** Reads a field of every position as float32. Dequantises int8. */
export function fieldTensor({ layout }: BundleModel, rows: Uint8Array, field: PlacedField): Tensor {
  const positions = rows.length / layout.strideBytes;
  const values = new Float32Array(positions * field.width); // [positions * width]
  readField(rows, layout.strideBytes, field, values);
  return float32(values, [positions, field.width]);
}

/** Copies a float16 field of every position, without conversion. */
function float16Tensor({ layout }: BundleModel, rows: Uint8Array, field: PlacedField): Tensor {
  const positions = rows.length / layout.strideBytes;
  const bits = new Uint16Array(positions * field.width); // [positions * width]
  copyField(rows, layout.strideBytes, field, bits);
  return { type: 'float16', data: bits, shape: [positions, field.width] };
}
