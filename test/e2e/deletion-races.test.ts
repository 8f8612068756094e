// Users are deleted while they record, and the updaters stall, die and return. The queue's order decides: everything
// enqueued before a deletion is gone, everything enqueued after it is there once, in order.
import type { Receipt } from '@collectivekv/client';
import type { RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type E2eStack, interactionsOf, startE2e, withQueue } from './e2e-stack.js';

let e2e: E2eStack;
beforeAll(async () => {
  e2e = await startE2e({ replicas: { updater: 2 } });
});
afterAll(() => e2e?.close());

const SIZES = [3, 20, 1, 14, 40];
/** Rounds of each user beside each fault. A fixed number, so that a slow machine has no more to do. */
const ROUNDS = 4;

/** A user who records, and is deleted in every third round. */
function startLife(userId: string) {
  const receipts: Receipt[] = [];
  let [round, from, sent] = [0, 0, 0];
  return {
    userId,
    receipts,
    async live(): Promise<void> {
      for (const end = round + ROUNDS; round < end; round++) {
        const size = SIZES[round % SIZES.length] ?? 1;
        await e2e.client.recordInteractions(interactionsOf(userId, size, sent));
        sent += size;
        if (round % 3 !== 2) continue;
        receipts.push(await e2e.client.deleteUser(userId));
        from = sent;
      }
    },
    /** Records once more. Returns the interactions since the last deletion. */
    async end() {
      await e2e.client.recordInteractions(interactionsOf(userId, 17, sent));
      return interactionsOf(userId, sent + 17 - from, from);
    },
  };
}

/** True if the process has no lease any more. A lease begins with the name of its member, which has the process id. */
async function lostAll(redis: RedisClient, pid: number): Promise<boolean> {
  const leases = Object.values(await redis.hgetall('{ckv}:partition-leases'));
  return !leases.some((lease) => lease.includes(`-${pid}-`));
}

it('keeps exactly what was enqueued after the last deletion, although updaters stall and die', async () => {
  await withQueue(e2e, async ({ inspection, redis }) => {
    const lives = Array.from({ length: 12 }, (_, i) => startLife(`leaver-${i}`));
    const [first, second] = e2e.stack.services.updater;
    if (!first || !second) throw new Error('no updater');
    /** Lets the users live while something happens to the updaters. */
    const during = (fault: () => Promise<unknown>) => Promise.all([fault(), ...lives.map((life) => life.live())]);
    try {
      await during(async () => {
        process.kill(first.pid, 'SIGSTOP');
        await vi.waitUntil(() => lostAll(redis, first.pid), { timeout: 30_000 });
      });
      await during(async () => {
        process.kill(first.pid, 'SIGCONT');
        await vi.waitUntil(async () => !(await lostAll(redis, first.pid)), { timeout: 30_000 });
      });
      await during(() => second.kill());
      await during(async () => {
        await second.restart();
        await second.untilReady();
      });
    } finally {
      process.kill(first.pid, 'SIGCONT');
    }
    for (const life of lives) {
      const { userId, receipts } = life;
      const kept = await life.end();
      expect(receipts.length).toBe(Math.floor((4 * ROUNDS) / 3));
      for (const { receiptId } of receipts) {
        const done = async () => (await e2e.client.getReceipt(receiptId)).state === 'done';
        await vi.waitUntil(done, { timeout: 60_000, interval: 100 });
      }
      const record = await e2e.untilApplied(userId, kept.length, 60_000);
      expect({ userId, applied: record.lifetimeCount }).toEqual({ userId, applied: kept.length });
      await e2e.expectRows(record, kept);
    }
    const idle = async () =>
      (await inspection.counts()).every(({ waiting, active, failed }) => waiting + active + failed === 0);
    await vi.waitUntil(idle, { timeout: 30_000 });
  });
}, 240_000);
