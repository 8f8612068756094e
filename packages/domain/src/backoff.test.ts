import { afterEach, describe, expect, it, vi } from 'vitest';
import { backoffMs } from './backoff.js';

const RANGE = { firstMs: 50, longestMs: 2_000 };

describe('backoffMs', () => {
  afterEach(() => vi.restoreAllMocks());

  it('doubles from the first pause to the longest', () => {
    vi.spyOn(Math, 'random').mockReturnValue(1);
    expect([1, 2, 3, 6, 7, 1_000].map((failures) => backoffMs(failures, RANGE))).toEqual([
      50, 100, 200, 1_600, 2_000, 2_000,
    ]);
  });

  it('draws no pause below half of that', () => {
    vi.spyOn(Math, 'random').mockReturnValue(0);
    expect([1, 2, 7].map((failures) => backoffMs(failures, RANGE))).toEqual([25, 50, 1_000]);
  });
});
