import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { admitRanks } from './rank-admission.js';

const limits = { deadlineMs: Number.POSITIVE_INFINITY };
let engine: { hungry: boolean; queuedCount: number };
let saturated: boolean;
/** Ends the requests that have begun, oldest first. */
let begun: (() => void)[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] });
  engine = { hungry: true, queuedCount: 0 };
  saturated = false;
  begun = [];
});
afterEach(() => {
  vi.useRealTimers();
});

/** Sends requests, 1 ms apart. Returns the admission. */
async function send(count: number, workerCount = 2) {
  const admission = admitRanks({ engine, workerCount, mostWaiting: 100, saturated: () => saturated });
  for (let i = 0; i < count; i++) {
    vi.advanceTimersByTime(1);
    void admission.run(limits, () => new Promise<void>((resolve) => begun.push(resolve)));
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
