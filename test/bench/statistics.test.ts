import { expect, it } from 'vitest';
import { createLatencyHistogram } from './latency-histogram.js';
import { createRounds } from './rounds.js';
import { median, slope } from './statistics.js';

it('takes the middle value, or the mean of the two middle values', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([9, 1, 5, 7])).toBe(6);
  expect(median([])).toBeNaN();
});

it('gives the slope of the least squares line', () => {
  expect(slope([0, 1, 2, 5].map((x) => [x, 7 + 3 * x] as const))).toBeCloseTo(3);
  expect(
    slope([
      [0, 0],
      [1, 2],
      [2, 1],
    ]),
  ).toBeCloseTo(0.5);
});

it('keeps three digits of a latency, from microseconds to minutes', () => {
  for (const ms of [0.012, 1.234, 56.7, 890, 123_000]) {
    const histogram = createLatencyHistogram();
    histogram.record(ms);
    expect(histogram.percentileMs(50) / ms).toBeCloseTo(1, 2);
  }
  expect(createLatencyHistogram().percentileMs(99)).toBeNaN();
});

it('gives the percentile, not the maximum', () => {
  const histogram = createLatencyHistogram();
  for (let ms = 1; ms <= 1_000; ms++) histogram.record(ms);
  expect(histogram.percentileMs(50) / 500).toBeCloseTo(1, 2);
  expect(histogram.percentileMs(99) / 990).toBeCloseTo(1, 2);
  expect(histogram.count).toBe(1_000);
});

it('keeps values apart by key', () => {
  const rounds = createRounds<readonly [string, number]>();
  rounds.add(['a', 1], 3, 1);
  rounds.add(['a', 1], 2);
  rounds.add(['a', 2], 10);
  expect(rounds.median(['a', 1])).toBe(2);
  expect(rounds.sum(['a', 1])).toBe(6);
  expect(rounds.median(['b', 1])).toBeNaN();
});

it('takes ratios within a round, so that a slow round does not change the ratio', () => {
  const rounds = createRounds<string>();
  rounds.add('a', 10, 300, 10);
  rounds.add('b', 5, 150, 40);
  expect(rounds.ratio('a', 'b')).toBe(2);
  expect(rounds.ratio('a', 'c')).toBeNaN();
});
