import { expect, it } from 'vitest';
import { slotRuns } from './slot-runs.js';

it('has a run for each slot of a small pool', () => {
  const runs = slotRuns(Uint32Array.of(3, 0, 1), Uint32Array.of(1, 1, 0));
  expect(runs.runSlots).toBe(1);
  expect([...runs.recentPositions]).toEqual([3, 0, 1]);
  expect([...runs.usedSlots]).toEqual([1, 0, 1]);
  expect([...(runs.trainedPositions ?? [])]).toEqual([1, 1, 0]);
});

it.each([1_024, 1_025, 2_500, 1_048_576])(
  'adds %i slots up in at most 1,024 runs, and loses no position',
  (slotCount) => {
    const recent = Uint32Array.from({ length: slotCount }, (_, slot) => slot % 3);
    const { runSlots, recentPositions, usedSlots, trainedPositions } = slotRuns(recent, undefined);
    expect(recentPositions.length).toBe(Math.ceil(slotCount / runSlots));
    expect(recentPositions.length).toBeLessThanOrEqual(1_024);
    const sum = (counts: Uint32Array) => counts.reduce((total, count) => total + count, 0);
    expect(sum(recentPositions)).toBe(sum(recent));
    expect(sum(usedSlots)).toBe(recent.filter((count) => count > 0).length);
    expect(trainedPositions).toBeUndefined();
  },
);
