import { describe, expect, it } from 'vitest';
import { elementAt, float32, integers, integerType } from './tensor.js';

describe('integers', () => {
  const values = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)];

  it('holds every 32-bit integer as int32', () => {
    expect(integers('int32', values, [5])).toEqual({ type: 'int32', data: Int32Array.from(values), shape: [5] });
  });

  it('holds every 32-bit integer as int64', () => {
    const data = BigInt64Array.from(values, BigInt);
    expect(integers('int64', values, [5, 1])).toEqual({ type: 'int64', data, shape: [5, 1] });
  });
});

describe('integerType', () => {
  it('returns the types of an index input and refuses any other', () => {
    expect([integerType('int32'), integerType('int64')]).toEqual(['int32', 'int64']);
    const message = 'an index input has type float32, int64 or int32 is required';
    expect(() => integerType('float32')).toThrow(expect.objectContaining({ reason: 'bundle_invalid', message }));
  });
});

describe('elementAt', () => {
  it('returns a number from every type, and converts float16 bits', () => {
    expect(elementAt(float32(Float32Array.of(1, 2.5), [2]), 1)).toBe(2.5);
    expect(elementAt(integers('int64', [-7], [1]), 0)).toBe(-7);
    expect(elementAt({ type: 'float16', data: Uint16Array.of(0x3c00), shape: [1] }, 0)).toBe(1);
    expect(elementAt({ type: 'uint8', data: Uint8Array.of(200), shape: [1] }, 0)).toBe(200);
  });

  it('throws a bug beyond the last element', () => {
    const bug = expect.objectContaining({ reason: 'bug', message: 'tensor has no element 1' });
    expect(() => elementAt(float32(Float32Array.of(1), [1]), 1)).toThrow(bug);
  });
});
