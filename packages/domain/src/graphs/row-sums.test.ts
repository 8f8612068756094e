import { describe, expect, it } from 'vitest';
import { createSimdAdder, plainAdder, sharedSimdAdder, simdBytes } from './row-sums.js';

const MIB = 1024 * 1024;

describe('an adder of SIMD code', () => {
  it('does not exist above 4 GiB', () => {
    expect(createSimdAdder(4096 * MIB + 1)).toBeUndefined();
    expect(createSimdAdder(64)).toBeDefined();
  });

  it('reads its own tables where they are, and others as copies', () => {
    const adder = createSimdAdder(simdBytes(16) + simdBytes(16));
    const own = adder?.createTable(16) ?? new Float32Array(0);
    const other = Float32Array.from({ length: 16 }, (_, i) => i);
    expect(adder?.begin(simdBytes(16), 16)).toBe(true);
    expect(adder?.reach(own)).toBe(own);
    const copy = adder?.reach(other);
    expect(copy).toEqual(other);
    expect([copy?.buffer === own.buffer, copy?.byteOffset]).toEqual([true, 64]);
    expect(plainAdder.reach(other)).toBe(other);
  });

  it('takes rows of a multiple of 16 numbers', () => {
    const adder = createSimdAdder(1_024);
    expect([16, 24, 32].map((width) => adder?.begin(64, width))).toEqual([true, false, true]);
  });

  it('is shared by requests of up to 64 MiB of gathered rows', () => {
    expect(sharedSimdAdder(64 * MIB + 1)).toBeUndefined();
    const small = sharedSimdAdder(MIB);
    expect(small?.begin(MIB, 16)).toBe(true);
    expect(sharedSimdAdder(MIB / 2)).toBe(small);
    const large = sharedSimdAdder(64 * MIB);
    expect(large?.begin(64 * MIB, 16)).toBe(true);
    expect(sharedSimdAdder(MIB)).toBe(large);
  });
});
