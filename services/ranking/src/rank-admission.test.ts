import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { admitRanks } from './rank-admission.js';

const limits = { deadlineMs: Number.POSITIVE_INFINITY };
let engine: { hungry: boolean; queuedCount: number; mostUsers: number };
let saturated: boolean;
/** Ends the requests that have begun, oldest first. */
let begun: (() => void)[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] });
  engine = { hungry: true, queuedCount: 0, mostUsers: 1 };
  saturated = false;
  begun = [];
});
afterEach(() => {
  vi.useRealTimers();
});

/** Sends requests, 1 ms apart. Returns the admission. */
async function send(count: number, workerCount = 2, mostWaiting = 100) {
  const admission = admitRanks({ engine, workerCount, mostWaiting, saturated: () => saturated });
  for (let i = 0; i < count; i++) {
    vi.advanceTimersByTime(1);
    admission.run(limits, () => new Promise<void>((resolve) => begun.push(resolve))).catch(() => undefined);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  }
  return admission;
}

it('begins more than the least while a worker is hungry: their records may take long', async () => {
  expect((await send(30)).startedCount).toBe(30);
});

it.each([
  ['the workers have enough to do', () => Object.assign(engine, { hungry: false })],
  ['the event loop has no time left', () => (saturated = true)],
])('begins 16 requests, or two for each worker, and lets the others wait if %s', async (_, change) => {
  change();
  expect((await send(30)).startedCount).toBe(16);
  expect((await send(30, 10)).startedCount).toBe(20);
});

it('begins fewer again when more runs wait than there are workers', async () => {
  const admission = await send(30);
  engine = Object.assign(engine, { hungry: false, queuedCount: 3 });
  for (const end of begun.splice(0)) end();
  await vi.waitUntil(() => admission.startedCount === 0);
  for (let i = 0; i < 30; i++) void admission.run(limits, () => new Promise<void>((resolve) => begun.push(resolve)));
  expect(admission.startedCount).toBe(16);
});

describe('if users share graph runs', () => {
  beforeEach(() => {
    engine = { hungry: false, queuedCount: 0, mostUsers: 64 };
  });

  it.each([
    [1, 256, 128],
    [2, 256, 256],
    [4, 300, 300],
    [1, 50, 50],
    [1, 4, 16],
  ])(
    '%i worker(s) with %i places for runs that wait begin enough for full runs: %i',
    async (workers, places, begun) => {
      expect((await send(310, workers, places)).startedCount).toBe(begun);
    },
  );

  it('begins more as soon as a bundle is loaded for it, and less when it is gone', async () => {
    engine.mostUsers = 1;
    const admission = await send(30);
    expect(admission.startedCount).toBe(16);
    engine.mostUsers = 8;
    void admission.run(limits, () => new Promise<void>((resolve) => begun.push(resolve)));
    await vi.waitUntil(() => admission.startedCount === 31);
    Object.assign(engine, { mostUsers: 1, queuedCount: 3 });
    for (const end of begun.splice(0)) end();
    await vi.waitUntil(() => admission.startedCount === 0);
    for (let i = 0; i < 30; i++) void admission.run(limits, () => new Promise<void>(() => undefined));
    expect(admission.startedCount).toBe(16);
  });

  it('has more work than it needs only when more wait than fill a run of each worker', async () => {
    engine.hungry = true;
    const admission = await send(300, 1, 100);
    expect(admission.startedCount).toBe(300);
    Object.assign(engine, { hungry: false, queuedCount: 64 });
    begun.shift()?.();
    await vi.waitUntil(() => admission.startedCount === 299);
    void admission.run(limits, () => new Promise<void>(() => undefined));
    expect(admission.startedCount).toBe(300);
    engine.queuedCount = 65;
    begun.shift()?.();
    await vi.waitUntil(() => admission.startedCount === 299);
    void admission.run(limits, () => new Promise<void>(() => undefined)).catch(() => undefined);
    expect(admission.startedCount).toBe(299);
  });

  it('lets as many wait in a standing queue as fill the runs of the workers', async () => {
    const admission = await send(128 + 250, 1, 400); // some have waited for 200 ms
    const waitingCount = admission.waitingCount;
    expect([waitingCount > 128, waitingCount < 250, admission.full]).toEqual([true, true, true]);
    for (const end of begun.splice(0, waitingCount - 128)) end();
    await vi.waitUntil(() => admission.waitingCount === 128);
    expect(admission.full).toBe(true);
    begun.shift()?.();
    await vi.waitUntil(() => admission.waitingCount === 127);
    expect(admission.full).toBe(false);
  });
});
