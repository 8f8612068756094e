import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createStopwatch } from './stage-timings.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const wait = (ms: number) => () => vi.advanceTimersByTime(ms);

it('adds the time of each stage in microseconds, also if its work fails', async () => {
  const stopwatch = createStopwatch();
  wait(1)();
  expect(await stopwatch.time('fetch', () => 'record')).toBe('record');
  await stopwatch.time('encode', wait(2));
  await stopwatch.time('encode', wait(3));
  const failed = stopwatch.time('gather', () => {
    wait(4)();
    throw new Error('no rows');
  });
  await expect(failed).rejects.toThrow('no rows');
  const wanted = { fetch: 0, encode: 5_000, gather: 4_000, assemble: 0, attend: 0, total: 10_000 };
  expect(stopwatch.finish()).toEqual(wanted);
  wait(1)();
  expect(stopwatch.finish()).toEqual({ ...wanted, total: 11_000 });
});
