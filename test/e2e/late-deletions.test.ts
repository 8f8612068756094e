// Calls of the updater reach Redis late, around the deletion of a user. The user does not come back, and a late
// deletion deletes nothing newer.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { interactionsOf } from './e2e-stack.js';
import { type PipedCache, startPipedCache } from './piped-cache.js';

/** More than HTTP/2 sends without a call. */
const CALL_BYTES = 120;

let piped: PipedCache;
beforeEach(async () => {
  piped = await startPipedCache();
});
afterEach(() => piped?.close());

it('stays deleted although an append arrives late, right after the deletion', async () => {
  const { e2e, pipe, answeredCount } = piped;
  await piped.untilUsed();
  pipe.hold();
  const before = await answeredCount('AppendPositions');
  // Calls take turns on the user-caches: the append of one of these users is held. Its events fit the ring, so nothing
  // but the deletion has to wait for it.
  const users: string[] = [];
  await vi.waitUntil(
    async () => {
      const userId = `u${users.length}`;
      users.push(userId);
      await e2e.client.recordInteractions(interactionsOf(userId, 7));
      const applied = e2e.untilApplied(userId, 7, 1_000).then(
        () => true,
        () => false,
      );
      return !(await applied) && pipe.heldBytes() > CALL_BYTES;
    },
    { timeout: 60_000 },
  );
  const userId = users.at(-1) ?? '';
  pipe.cutClients();
  await e2e.untilApplied(userId, 7);
  const receipt = await e2e.client.deleteUser(userId, { wait: true, timeoutMs: 60_000 });
  expect(receipt).toMatchObject({ state: 'done', encodings: [{ recordCount: 1 }] });
  pipe.release();
  await vi.waitUntil(async () => (await answeredCount('AppendPositions')) > before, { timeout: 60_000 });
  expect(await e2e.recordOf(userId)).toBeUndefined();
}, 180_000);

it('keeps newer interactions although a deletion arrives late, right after them', async () => {
  const { e2e, pipe, answeredCount } = piped;
  await piped.untilUsed();
  await e2e.client.recordInteractions(interactionsOf('u', 3));
  await e2e.untilApplied('u', 3);
  pipe.hold();
  const before = await answeredCount('DeleteRecord');
  // Calls take turns on the user-caches: one of the first deletions goes through the pipe, and its receipt waits.
  let held = '';
  await vi.waitUntil(
    async () => {
      const receipt = await e2e.client.deleteUser('u', { wait: true, timeoutMs: 1_000 });
      if (receipt.state === 'pending' && pipe.heldBytes() > CALL_BYTES) held = receipt.receiptId;
      return held !== '';
    },
    { timeout: 60_000 },
  );
  await e2e.client.recordInteractions(interactionsOf('u', 5, 100));
  pipe.cutClients();
  expect((await e2e.untilApplied('u', 5, 60_000)).lifetimeCount).toBe(5);
  expect(await e2e.client.getReceipt(held)).toMatchObject({ state: 'done' });
  pipe.release();
  await vi.waitUntil(async () => (await answeredCount('DeleteRecord')) > before, { timeout: 60_000 });
  const record = await e2e.recordOf('u');
  expect(record?.lifetimeCount).toBe(5);
  if (record) await e2e.expectRows(record, interactionsOf('u', 5, 100));
}, 180_000);
