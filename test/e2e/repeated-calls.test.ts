// A backend that repeats a call after an unclear failure does not change the records again.
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type E2eStack, interactionsOf, startE2e, usersOfPartition, withQueue } from './e2e-stack.js';

let e2e: E2eStack;
let updater: GrpcClient<'InteractionService'>;
beforeAll(async () => {
  e2e = await startE2e();
  updater = createGrpcClient('InteractionService', e2e.stack.targets.updater);
});
afterAll(async () => {
  updater?.close();
  await e2e?.close();
});

/** Waits until the queue is empty. */
async function untilIdle(): Promise<void> {
  await withQueue(e2e, async ({ inspection }) => {
    const idle = async () => (await inspection.counts()).every(({ waiting, active }) => waiting + active === 0);
    await vi.waitUntil(idle, { timeout: 30_000 });
  });
}

/** Returns the interactions of several users, `each` of every user, in turns. */
function interleaved(users: readonly string[], each: number) {
  const lists = users.map((userId) => interactionsOf(userId, each));
  return Array.from({ length: each }, (_, i) => lists.flatMap((list) => list[i] ?? [])).flat();
}

async function expectEach(users: readonly string[], count: number): Promise<void> {
  for (const userId of users) {
    const record = await e2e.untilApplied(userId, count);
    expect({ userId, applied: record.lifetimeCount }).toEqual({ userId, applied: count });
    await e2e.expectRows(record, interactionsOf(userId, count));
  }
}

it('applies a Record call once, though its jobs share users', async () => {
  const users = usersOfPartition(3, 50, 'shared');
  const interactions = interleaved(users, 20).map((one) => ({ ...one, action: one.action ?? '' }));
  for (let i = 0; i < 2; i++) {
    expect(await updater.call('Record', { interactions })).toEqual({ queuedCount: 1_000 });
    await untilIdle();
  }
  await expectEach(users, 20);
});

it('applies a call of the SDK once, though the SDK splits it', async () => {
  const [one = ''] = usersOfPartition(3, 1, 'split');
  const others = usersOfPartition(3, 99, 'beside');
  const wanted = interactionsOf(one, 28);
  const filler = interleaved(others, 10);
  const calls = [...wanted.slice(0, 14), ...filler.slice(0, 986), ...wanted.slice(14), ...filler.slice(986)];
  expect(calls.length).toBe(1_018);
  for (let i = 0; i < 2; i++) {
    await e2e.client.recordInteractions(calls);
    await untilIdle();
  }
  await expectEach([one], 28);
  await expectEach(others, 10);
});

it('remembers a call with an idempotency key, and generates the same event ids for it', async () => {
  const record = () =>
    e2e.client.recordInteractions([{ userId: 'keyed', itemId: 'i0001' }], { idempotencyKey: 'call-1' });
  const eventIds = await record();
  await e2e.client.recordInteractions(interactionsOf('keyed', 20));
  await e2e.untilApplied('keyed', 21);
  expect(await record()).toEqual(eventIds);
  await untilIdle();
  expect((await e2e.recordOf('keyed'))?.lifetimeCount).toBe(21);
});

it('applies another list, though its idempotency key was used before', async () => {
  const key = { idempotencyKey: 'call-2' };
  const record = (itemId: string, action: string) =>
    e2e.client.recordInteractions([{ userId: 'reused', itemId, action }], key);
  const calls = [await record('i0001', 'click'), await record('i0002', 'click'), await record('i0002', 'like')];
  expect(new Set(calls.flat()).size).toBe(3);
  await record('i0001', 'click');
  await untilIdle();
  expect((await e2e.recordOf('reused'))?.lifetimeCount).toBe(3);
});
