// Processes die without a word while interactions stream in: nothing is lost, nothing comes twice, order holds.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, interactionsOf, startE2e } from './e2e-stack.js';

let e2e: E2eStack;
beforeAll(async () => {
  e2e = await startE2e({ replicas: { 'user-cache': 2, updater: 2 }, fsync: 'always' });
});
afterAll(() => e2e?.close());

const SIZES = [1, 2, 5, 1, 33, 3, 14, 15, 1, 8];

it('applies every accepted interaction once and in order while updaters, user-caches and Redis are killed', async () => {
  const users = Array.from({ length: 20 }, (_, i) => `mortal-${i}`);
  const sent = new Map(users.map((userId) => [userId, 0]));
  let streaming = true;

  /** One backend per user: it sends the next interactions when the last ones were accepted. */
  async function backend(userId: string): Promise<void> {
    for (let round = 0; streaming; round++) {
      const from = sent.get(userId) ?? 0;
      const size = SIZES[round % SIZES.length] ?? 1;
      await e2e.client.recordInteractions(interactionsOf(userId, size, from));
      sent.set(userId, from + size);
      await sleep(60); // a user's pace; without it the queue would only ever be full
    }
  }
  const backends = users.map(backend);

  const { updater, 'user-cache': userCache } = e2e.stack.services;
  const die = async (service: (typeof updater)[number] | undefined) => {
    await service?.kill();
    await service?.restart();
  };
  for (let round = 0; round < 2; round++) {
    await sleep(300);
    await die(updater[round]);
    await sleep(200);
    await die(userCache[round]);
    await sleep(200);
    await e2e.stack.redis?.kill();
    await e2e.stack.restartRedis();
    await sleep(500);
    await Promise.all([...updater, ...userCache].map(die)); // all of them at once
  }
  streaming = false;
  await Promise.all(backends);

  for (const userId of users) {
    const count = sent.get(userId) ?? 0;
    const record = await e2e.untilApplied(userId, count, 60_000);
    expect({ userId, applied: record.lifetimeCount }).toEqual({ userId, applied: count });
    const wanted = Buffer.from(await e2e.rowsOf(interactionsOf(userId, count)));
    const { maxPositions } = e2e.bundle.model.manifest;
    expect(Buffer.from(record.rows).equals(wanted.subarray(-maxPositions * record.strideBytes))).toBe(true);
  }
}, 120_000);
