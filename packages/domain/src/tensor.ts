import { CkvError } from './errors.js';
import { float16ToNumber } from './float16.js';

/** A graph's input or output. A float16 tensor holds bits, since Node 20 has no Float16Array. */
export type Tensor =
  | { readonly type: 'float32'; readonly data: Float32Array; readonly shape: readonly number[] }
  | { readonly type: 'float16'; readonly data: Uint16Array; readonly shape: readonly number[] }
  | { readonly type: 'int64'; readonly data: BigInt64Array; readonly shape: readonly number[] }
  | { readonly type: 'int32'; readonly data: Int32Array; readonly shape: readonly number[] }
  | { readonly type: 'uint8'; readonly data: Uint8Array; readonly shape: readonly number[] };

/** Element type of a {@link Tensor}. */
export type TensorType = Tensor['type'];

/** Tensors by the name that the graph gives them. */
export type Tensors = Record<string, Tensor>;

/** The arrays of the elements of each type. */
export const TENSOR_ARRAYS = {
  float32: Float32Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
} as const satisfies Record<TensorType, unknown>;

/** Returns a tensor of zeros. */
export function zeros(type: TensorType, shape: readonly number[]): Tensor {
  const length = shape.reduce((product, count) => product * count, 1);
  return { type, data: new TENSOR_ARRAYS[type](length), shape } as Tensor;
}

/** Returns a float32 tensor over `data`, without a copy. */
export function float32(data: Float32Array, shape: readonly number[]): Tensor {
  return { type: 'float32', data, shape };
}

/** Returns an integer tensor of the type that a graph requires. Every value must be a 32-bit integer. */
export function integers(type: 'int64' | 'int32', values: ArrayLike<number>, shape: readonly number[]): Tensor {
  if (type === 'int32') return { type, data: Int32Array.from(values), shape };
  const data = new BigInt64Array(values.length);
  const halves = new Int32Array(data.buffer); // low half, then high half: avoids one BigInt per value
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    halves[2 * i] = value;
    halves[2 * i + 1] = value >> 31;
  }
  return { type, data, shape };
}

/**
 * Returns `type` if it is an integer tensor type.
 * @throws bundle_invalid for any other type
 */
export function integerType(type: string): 'int64' | 'int32' {
  if (type === 'int64' || type === 'int32') return type;
  throw new CkvError('bundle_invalid', `an index input has type ${type}, int64 or int32 is required`);
}

/** Returns element `index` of a tensor as a number. Converts float16 bits. */
export function elementAt(tensor: Tensor, index: number): number {
  const value = tensor.data[index];
  if (value === undefined) throw new CkvError('bug', `tensor has no element ${index}`);
  return tensor.type === 'float16' ? float16ToNumber(Number(value)) : Number(value);
}
