import { expect, it } from 'vitest';
import { rankShares } from './rank-shares.js';

it('adds up the shares of 1, 1, 2, 4 … slots, the most used first', () => {
  expect(rankShares(Uint32Array.of(0, 2, 10, 1, 1, 4, 0, 2))).toEqual([0.5, 0.2, 0.2, 0.1]);
  expect(rankShares(Uint32Array.of(3))).toEqual([1]);
});

it('is empty without positions', () => {
  expect(rankShares(new Uint32Array(4))).toEqual([]);
});
