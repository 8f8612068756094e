import { expect, it } from 'vitest';
import { runsOf } from './runs.js';

it.each([
  [0, 1, 0],
  [3, 1, 3],
  [4, 1, 4],
  [5, 2, 3],
  [1_000, 250, 4],
])('adds %i numbers up in runs of %i', (count, size, runs) => {
  const numbers = Float32Array.from({ length: count }, (_, i) => i);
  const found = runsOf(numbers, 4);
  expect(found.size).toBe(size);
  expect(found.sums).toHaveLength(runs);
  expect(found.sums.reduce((sum, one) => sum + one, 0)).toBeCloseTo((count * (count - 1)) / 2);
});
