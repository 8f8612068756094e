import { expect, it, vi } from 'vitest';
import { watchLoop } from './loop-load.js';

/** Keeps the event loop at work. */
function work(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

it('an event loop is saturated while it is at work without a break, and no longer when it has time left', async () => {
  const saturated = watchLoop();
  work(50);
  expect(saturated()).toBe(true);
  await vi.waitUntil(() => !saturated());
  work(50);
  await vi.waitUntil(() => {
    work(50);
    return saturated();
  });
});
