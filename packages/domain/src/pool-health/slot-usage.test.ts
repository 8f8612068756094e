import { expect, it } from 'vitest';
import { createSlotUsage } from './slot-usage.js';

it('counts the newest positions, for one to two windows', () => {
  let nowMs = 5;
  const usage = createSlotUsage(3, 100, () => nowMs);
  usage.add([0, 2, 2]);
  nowMs = 104;
  usage.add([1], [4]);
  expect([...usage.counts()]).toEqual([1, 4, 2]);
  nowMs = 105;
  usage.add([0]);
  expect([...usage.counts()]).toEqual([2, 4, 2]);
  nowMs = 205;
  expect([...usage.counts()]).toEqual([1, 0, 0]);
  nowMs = 1_000;
  expect([...usage.counts()]).toEqual([0, 0, 0]);
});

it('leaves out slots beyond the pool', () => {
  const usage = createSlotUsage(2, 100, () => 0);
  usage.add([1, 2, 9]);
  expect([...usage.counts()]).toEqual([0, 1]);
});
