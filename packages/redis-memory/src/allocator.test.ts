import { describe, expect, it } from 'vitest';
import { allocatedBytes, textBytes } from './allocator.js';

describe('allocatedBytes', () => {
  it.each([
    [1, 8],
    [8, 8],
    [9, 16],
    [16, 16],
    [17, 32],
    [113, 128],
    [128, 128],
    [129, 160],
    [160, 160],
    [257, 320],
    [3_072, 3_072],
    [3_073, 3_584],
    [4_096, 4_096],
    [4_097, 5_120],
    [16_385, 20_480],
    [1_048_577, 1_310_720],
  ])('of %i is %i, a size of jemalloc', (bytes, size) => expect(allocatedBytes(bytes)).toBe(size));

  it('never wastes more than a quarter above the smallest sizes', () => {
    for (let bytes = 64; bytes < 100_000; bytes += 7) {
      expect(allocatedBytes(bytes)).toBeGreaterThanOrEqual(bytes);
      expect(allocatedBytes(bytes)).toBeLessThanOrEqual(Math.max(bytes + 15, bytes * 1.25));
    }
  });
});

describe('textBytes', () => {
  it.each([
    [14, 16], // one byte of header, one of zero
    [31, 48],
    [124, 128], // three bytes of header
    [125, 160],
    [314, 320], // five
    [315, 384],
    [65_536, 81_920], // nine
  ])('of a text of %i bytes is %i', (length, size) => expect(textBytes(length)).toBe(size));
});
