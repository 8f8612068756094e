import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { float16ToNumber, numberToFloat16 } from './float16.js';

describe('numberToFloat16', () => {
  it('inverts float16ToNumber for all 65,536 bit patterns', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = float16ToNumber(bits);
      if (Number.isNaN(value)) expect(Number.isNaN(float16ToNumber(numberToFloat16(value)))).toBe(true);
      else expect(numberToFloat16(value)).toBe(bits);
    }
  });

  it('rounds to the nearest half precision number', () => {
    fc.assert(
      fc.property(fc.double({ min: -65_504, max: 65_504, noNaN: true }), (value) => {
        const bits = numberToFloat16(Math.fround(value));
        const error = Math.abs(float16ToNumber(bits) - Math.fround(value));
        for (const neighbour of [bits - 1, bits + 1]) {
          const other = float16ToNumber(neighbour & 0xffff);
          if (Number.isFinite(other)) expect(error).toBeLessThanOrEqual(Math.abs(other - Math.fround(value)));
        }
      }),
    );
  });

  it('rounds numbers from 65,520 on to infinity', () => {
    expect([65_519, 65_520, -1e9].map((value) => float16ToNumber(numberToFloat16(value)))).toEqual([
      65_504,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
  });
});
