// Processes are killed while interactions stream in. No interaction is lost or duplicated, and the order stays.
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let e2e: E2eStack;
beforeAll(async () => {
  e2e = await startE2e({ replicas: { 'user-cache': 2, updater: 2 }, fsync: 'always' });
});
afterAll(() => e2e?.close());

/** Interactions of one call after another. */
const SIZES = [1, 2, 5, 1, 33, 3, 14, 15, 1, 8];
/** Interactions that must be accepted between two kills. */
const BETWEEN_KILLS = 400;

it('applies every accepted interaction once and in order although updaters, user-caches and Redis are killed', async () => {
  const users = Array.from({ length: 20 }, (_, i) => `mortal-${i}`);
  const sent = new Map(users.map((userId) => [userId, 0]));
  let streaming = true;

  /**
   * A backend of one user. It sends a batch when the one before was accepted and the one before that is in the record.
   * The queue is then never empty and never full.
   */
  async function backend(userId: string): Promise<void> {
    for (let round = 0; streaming; round++) {
      const from = sent.get(userId) ?? 0;
      const size = SIZES[round % SIZES.length] ?? 1;
      await e2e.client.recordInteractions(interactionsOf(userId, size, from));
      sent.set(userId, from + size);
      if (from > 0) await e2e.untilApplied(userId, from, 60_000);
    }
  }
  const backends = Promise.all(users.map(backend));
  const sentCount = () => [...sent.values()].reduce((sum, count) => sum + count, 0);
  const untilMoreAccepted = async () => {
    const wanted = sentCount() + BETWEEN_KILLS;
    const accepted = vi.waitUntil(() => sentCount() >= wanted, { timeout: 60_000, interval: 5 });
    await Promise.race([accepted, backends]);
  };

  const { updater, 'user-cache': userCache } = e2e.stack.services;
  const die = async (service: (typeof updater)[number] | undefined) => {
    await service?.kill();
    await service?.restart();
  };
  for (let round = 0; round < 2; round++) {
    await untilMoreAccepted();
    await die(updater[round]);
    await untilMoreAccepted();
    await die(userCache[round]);
    await untilMoreAccepted();
    await e2e.stack.redis?.kill();
    await e2e.stack.restartRedis();
    await untilMoreAccepted();
    await Promise.all([...updater, ...userCache].map(die)); // all at once
  }
  streaming = false;
  await backends;

  for (const userId of users) {
    const count = sent.get(userId) ?? 0;
    const record = await e2e.untilApplied(userId, count, 60_000);
    expect({ userId, applied: record.lifetimeCount }).toEqual({ userId, applied: count });
    await e2e.expectRows(record, interactionsOf(userId, count));
  }
}, 180_000);
