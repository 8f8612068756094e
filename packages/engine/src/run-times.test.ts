import { beforeEach, describe, expect, it } from 'vitest';
import { createRunTimes, type RunTimes } from './run-times.js';

let times: RunTimes;
beforeEach(() => {
  times = createRunTimes();
});

/** Adds runs of 100 and of 1,000 cells in turn. */
function addRuns(count: number, timeOf: (cells: number) => number): void {
  for (let i = 0; i < count; i++) {
    const cells = i % 2 === 0 ? 100 : 1_000;
    times.add(cells, timeOf(cells));
  }
}

describe('the expected time of a run', () => {
  it('is 0 before the first run', () => {
    expect(times.expectedMs(100)).toBe(0);
  });

  it('grows with the cells until runs differ', () => {
    times.add(100, 10);
    times.add(100, 10);
    expect([0, 50, 200].map(times.expectedMs)).toEqual([0, 5, 20]);
  });

  it('has a fixed part, and a part for each cell', () => {
    addRuns(20, (cells) => 2 + cells / 100);
    expect(times.expectedMs(100)).toBeCloseTo(3);
    expect(times.expectedMs(1_000)).toBeCloseTo(12);
    expect(times.expectedMs(10_000)).toBeCloseTo(102);
  });

  it('follows the latest runs', () => {
    addRuns(20, (cells) => 2 + cells / 100);
    times.add(100, 5_000);
    addRuns(200, (cells) => 4 + cells / 50);
    expect(times.expectedMs(500)).toBeCloseTo(14);
  });

  it('is never below 0, nor shorter for more cells', () => {
    addRuns(20, (cells) => cells - 99);
    expect(times.expectedMs(1)).toBeGreaterThanOrEqual(0);
    times = createRunTimes();
    addRuns(20, (cells) => 2_000 - cells);
    expect(times.expectedMs(100)).toBe(times.expectedMs(1_000));
  });
});
