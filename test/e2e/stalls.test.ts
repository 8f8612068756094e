// Updaters stop in the middle of their work and return after others took over. Nothing is lost, repeated or reordered.
import type { RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, it, vi } from 'vitest';
import { startBackends } from './backends.js';
import { type E2eStack, PARTITIONS, startE2e, withQueue } from './e2e-stack.js';

let e2e: E2eStack;
beforeAll(async () => {
  e2e = await startE2e({ replicas: { updater: 2 } });
});
afterAll(() => e2e?.close());

const USERS = Array.from({ length: 20 }, (_, i) => `patient-${i}`);
/** Interactions that must be accepted between two stalls. */
const BETWEEN_STALLS = 400;

/** Counts the leases of a process. A lease begins with the name of its member, which has the process id. */
async function leaseCount(redis: RedisClient, pid: number): Promise<number> {
  const leases = Object.values(await redis.hgetall('{ckv}:partition-leases'));
  return leases.length < PARTITIONS ? Number.NaN : leases.filter((lease) => lease.includes(`-${pid}-`)).length;
}

it('applies every interaction once and in order although updaters stall past their leases and return', async () => {
  const backends = startBackends(e2e, USERS);
  const { updater } = e2e.stack.services;
  await withQueue(e2e, async ({ inspection, redis }) => {
    for (const { pid } of [...updater, ...updater]) {
      await vi.waitUntil(async () => (await leaseCount(redis, pid)) > 0, { timeout: 30_000 });
      await backends.untilMoreAccepted(BETWEEN_STALLS);
      process.kill(pid, 'SIGSTOP');
      try {
        await vi.waitUntil(async () => (await leaseCount(redis, pid)) === 0, { timeout: 30_000 });
      } finally {
        process.kill(pid, 'SIGCONT');
      }
    }
    await backends.stopAndCheck();
    const idle = async () =>
      (await inspection.counts()).every(({ waiting, active, failed }) => waiting + active + failed === 0);
    await vi.waitUntil(idle, { timeout: 30_000 }); // no job is stuck
  });
}, 180_000);
