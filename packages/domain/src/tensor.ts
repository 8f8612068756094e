import { CkvError } from './errors.js';

/** Element types that the graphs use. float16 travels as its bits, since Node 20 has no Float16Array. */
export type Tensor =
  | { readonly type: 'float32'; readonly data: Float32Array; readonly shape: readonly number[] }
  | { readonly type: 'float16'; readonly data: Uint16Array; readonly shape: readonly number[] }
  | { readonly type: 'int64'; readonly data: BigInt64Array; readonly shape: readonly number[] }
  | { readonly type: 'int32'; readonly data: Int32Array; readonly shape: readonly number[] }
  | { readonly type: 'uint8'; readonly data: Uint8Array; readonly shape: readonly number[] };

/** Element type of a {@link Tensor}. */
export type TensorType = Tensor['type'];

/** Tensors by the name a graph gives them. */
export type Tensors = Record<string, Tensor>;

/** A float32 tensor over `data`. */
export function float32(data: Float32Array, shape: readonly number[]): Tensor {
  return { type: 'float32', data, shape };
}

/** An integer tensor of the type a graph asks for. Values must be integers of 32 bits. */
export function integers(type: 'int64' | 'int32', values: ArrayLike<number>, shape: readonly number[]): Tensor {
  if (type === 'int32') return { type, data: Int32Array.from(values), shape };
  const data = new BigInt64Array(values.length);
  const halves = new Int32Array(data.buffer); // low, high: without a BigInt for every value
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    halves[2 * i] = value;
    halves[2 * i + 1] = value >> 31;
  }
  return { type, data, shape };
}

/** An integer tensor type, or a `bundle_invalid`. */
export function integerType(type: string): 'int64' | 'int32' {
  if (type === 'int64' || type === 'int32') return type;
  throw new CkvError('bundle_invalid', `an index input has type ${type}, int64 or int32 is required`);
}

/** Element `index` of a tensor as a number; float16 bits are converted. */
export function elementAt(tensor: Tensor, index: number): number {
  const value = tensor.data[index];
  if (value === undefined) throw new CkvError('bug', `tensor has no element ${index}`);
  return tensor.type === 'float16' ? float16ToNumber(Number(value)) : Number(value);
}

/** IEEE 754 half precision bits to a number. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * 2 ** -24 * fraction;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * 2 ** (exponent - 25) * (1024 + fraction);
}

let numbersOfBits: Float32Array | undefined;

/** Every half precision number at the place of its bits, 256 KiB: for reading many. */
export function float16Numbers(): Float32Array {
  numbersOfBits ??= Float32Array.from({ length: 0x10000 }, (_, bits) => float16ToNumber(bits));
  return numbersOfBits;
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** A number to IEEE 754 half precision bits, rounded to nearest even. */
export function numberToFloat16(value: number): number {
  f32[0] = value;
  const bits = u32[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    const scaled = Math.abs(value) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}
