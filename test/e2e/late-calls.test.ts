// A call to the user-cache fails for the updater and reaches Redis all the same, after its retry and newer events.
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { interactionsOf } from './e2e-stack.js';
import { type PipedCache, startPipedCache } from './piped-cache.js';

let piped: PipedCache;
beforeAll(async () => {
  piped = await startPipedCache();
});
afterAll(() => piped?.close());

it('applies every interaction once', async () => {
  const { e2e, pipe, answeredCount } = piped;
  await piped.untilUsed();
  pipe.hold();
  const before = await answeredCount('AppendPositions');
  await e2e.client.recordInteractions(interactionsOf('u', 100));
  await vi.waitUntil(() => pipe.heldBytes() > 300, { timeout: 60_000 });
  pipe.cutClients();
  await e2e.untilApplied('u', 100);
  pipe.release();
  await vi.waitUntil(async () => (await answeredCount('AppendPositions')) > before, { timeout: 60_000 });
  const record = await e2e.untilApplied('u', 100);
  expect(record.lifetimeCount).toBe(100);
  await e2e.expectRows(record, interactionsOf('u', 100));
}, 120_000);
