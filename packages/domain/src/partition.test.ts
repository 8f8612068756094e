import { expect, it } from 'vitest';
import { partitionOf } from './partition.js';

it("computes a user's partition with the CRC-32 of zlib", () => {
  expect([partitionOf('123456789', 2 ** 32), partitionOf('user-é', 2 ** 32)]).toEqual([0xcbf43926, 1_093_043_653]);
});
