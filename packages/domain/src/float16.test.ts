import { describe, expect, it } from 'vitest';
import { float16Numbers, float16ToNumber, numberToFloat16 } from './float16.js';

const LARGEST = 0x7bff; // 65,504

describe('numberToFloat16', () => {
  it('inverts float16ToNumber for all 65,536 bit patterns', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = float16ToNumber(bits);
      if (Number.isNaN(value)) expect(Number.isNaN(float16ToNumber(numberToFloat16(value)))).toBe(true);
      else expect(numberToFloat16(value)).toBe(bits);
    }
  });

  it('rounds to the nearest neighbour, and a tie to the even one, for every pair of neighbours and both signs', () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < LARGEST; bits++) {
      const [low, high] = [float16ToNumber(bits), float16ToNumber(bits + 1)];
      const middle = (low + high) / 2; // a float32 holds this and its neighbours
      const even = bits % 2 === 0 ? bits : bits + 1;
      const nearby = [
        [middle - (high - low) / 64, bits],
        [middle, even],
        [middle + (high - low) / 64, bits + 1],
      ] as const;
      for (const [value, expected] of nearby) {
        if (numberToFloat16(value) !== expected) wrong.push(value);
        if (numberToFloat16(-value) !== (expected | 0x8000)) wrong.push(-value);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('rounds numbers from 65,520 on to infinity', () => {
    expect([65_519, 65_520, -1e9].map((value) => float16ToNumber(numberToFloat16(value)))).toEqual([
      65_504,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
  });
});

describe('float16Numbers', () => {
  it('has the number of every bit pattern', () => {
    expect(float16Numbers()).toEqual(Float32Array.from({ length: 0x10000 }, (_, bits) => float16ToNumber(bits)));
  });
});

describe('float16ToNumber', () => {
  it.each([
    [0x0000, 0],
    [0x8000, -0],
    [0x0001, 2 ** -24],
    [0x03ff, 1_023 * 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3c00, 1],
    [0xc100, -2.5],
    [0x7bff, 65_504],
    [0x7c00, Number.POSITIVE_INFINITY],
    [0xfc00, Number.NEGATIVE_INFINITY],
    [0x7e00, Number.NaN],
  ])('converts the bits %i to %f', (bits, value) => {
    expect(float16ToNumber(bits)).toBe(value);
  });
});
