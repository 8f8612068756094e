import { CkvError } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import { type Clock, openLoop } from './open-loop.js';

/**
 * Creates a clock that stands still until a caller waits. It then lets pending work run, and jumps to the awaited time.
 */
function steppedClock(): Clock & { pass(ms: number): void } {
  let nowMs = 0;
  return {
    nowMs: () => nowMs,
    async until(ms) {
      await new Promise(setImmediate);
      nowMs = Math.max(nowMs, ms);
    },
    pass(ms) {
      nowMs += ms;
    },
  };
}

const LOAD = { ratePerS: 1_000, durationMs: 1_000, seed: 1 };

it('sends at the rate, and measures almost no latency for immediate answers', async () => {
  const { latency, sentCount, failedCount } = await openLoop({ ...LOAD, clock: steppedClock(), send: async () => {} });
  expect(sentCount).toBeGreaterThan(900);
  expect(sentCount).toBeLessThan(1_100);
  expect(latency.count).toBe(sentCount);
  expect(latency.percentileMs(99.9)).toBeLessThan(0.01);
  expect(failedCount).toBe(0);
});

it('shows a stall in every request that it delayed, not in one (coordinated omission)', async () => {
  const clock = steppedClock();
  const send = async (i: number) => {
    if (i === 100) clock.pass(200); // this process hangs: about 200 requests are sent late
  };
  const { latency, lateness } = await openLoop({ ...LOAD, clock, send });
  expect(latency.percentileMs(50)).toBeLessThan(1);
  expect(latency.percentileMs(90)).toBeGreaterThan(80);
  expect(latency.percentileMs(99)).toBeGreaterThan(180);
  expect(lateness.percentileMs(99)).toBeGreaterThan(180);
});

it('continues to send while a service hangs, and counts each latency from the due time', async () => {
  const clock = steppedClock();
  let resume: () => void = () => undefined;
  const resumed = new Promise<void>((resolve) => {
    resume = resolve;
  });
  const send = async (i: number) => {
    if (i === 500) resume(); // all earlier requests are waiting
    await resumed;
  };
  const { latency, lateness } = await openLoop({ ...LOAD, clock, send });
  expect(lateness.percentileMs(99)).toBeLessThan(0.01);
  expect(latency.percentileMs(99)).toBeGreaterThan(400);
});

it('counts failures by their error, and only the selected latencies', async () => {
  const send = async (i: number) => {
    if (i < 10) throw i < 7 ? new CkvError('overloaded', 'no') : new Error('a bug');
  };
  const result = await openLoop({ ...LOAD, clock: steppedClock(), send, counts: (i) => i % 100 === 0 });
  expect(result.failedCount).toBe(10);
  expect([...result.failures]).toEqual([
    ['overloaded: no', 7],
    ['error: a bug', 3],
  ]);
  expect(result.latency.count).toBe(Math.ceil(result.sentCount / 100));
});

it('sends at the same times for the same seed', async () => {
  const dueMs = async (seed: number) => {
    const clock = steppedClock();
    const times: number[] = [];
    await openLoop({ ...LOAD, seed, clock, send: async () => void times.push(clock.nowMs()) });
    return times;
  };
  expect(await dueMs(1)).toEqual(await dueMs(1));
  expect(await dueMs(1)).not.toEqual(await dueMs(2));
});
