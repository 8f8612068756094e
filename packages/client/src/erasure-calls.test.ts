// Deleting and forgetting against a real gRPC server whose receipts are known.
import type { Receipt as ReceiptMessage } from '@collectivekv/contracts';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CollectiveKvClient, createCollectiveKvClient } from './client.js';

const RECEIPT = '2f1f7c4e-0000-4000-8000-000000000001';
const PENDING: ReceiptMessage = { kind: 'ERASURE_KIND_USER', state: 'RECEIPT_STATE_PENDING', requestedAtMs: 5 };
const DONE: ReceiptMessage = {
  ...PENDING,
  state: 'RECEIPT_STATE_DONE',
  doneAtMs: 9,
  partial: true,
  encodings: [{ encodingId: 'b', positionCount: 1, remainder: 'REMAINDER_LATER_ROWS' }],
};

let server: GrpcServer;
let kv: CollectiveKvClient;
/** The receipt ids of all calls, in order. */
let receiptIds: string[];
/** The answers of the next calls; the last one repeats. An error fails its call. */
let answers: (ReceiptMessage | CkvError)[];

async function answer(receiptId: string): Promise<{ receipt: ReceiptMessage }> {
  receiptIds.push(receiptId);
  const next = answers.length > 1 ? answers.shift() : answers[0];
  if (next instanceof CkvError) throw next;
  return { receipt: { ...next, receiptId } };
}

beforeEach(async () => {
  [receiptIds, answers] = [[], [PENDING]];
  server = createGrpcServer({
    bind: '127.0.0.1:0',
    log: { debug: () => undefined, warn: () => undefined, error: () => undefined },
    metrics: { rpcSeconds: { observe: () => undefined } },
  });
  server.add('InteractionService', {
    Record: async ({ interactions }) => {
      const refused = interactions.findIndex(({ itemId }) => itemId === 'refused');
      if (refused >= 0) throw invalidRequest(`interactions[${refused}].item_id`, 'is refused', 'send another');
      return { queuedCount: interactions.length };
    },
    Forget: ({ receiptId }) => answer(receiptId),
    DeleteUser: ({ receiptId }) => answer(receiptId),
    GetReceipt: ({ receiptId }) => answer(receiptId),
  });
  const { address } = await server.start();
  kv = createCollectiveKvClient({ interactionTarget: address });
});
afterEach(async () => {
  kv.close();
  await server.drain(0);
});

it('names the interaction that the service refuses by its place in the whole list', async () => {
  const list = Array.from({ length: 1_005 }, (_, i) => ({ userId: 'u', itemId: i === 1_003 ? 'refused' : 'i' }));
  await expect(kv.recordInteractions(list)).rejects.toMatchObject({ field: 'interactions[1003].itemId' });
});

describe('deleteUser', () => {
  it('sends one random receipt id with all tries, and another one with the next call', async () => {
    answers = [new CkvError('dependency_unavailable', 'later'), PENDING];
    const first = await kv.deleteUser('u');
    const second = await kv.deleteUser('u');
    expect(receiptIds).toEqual([first.receiptId, first.receiptId, second.receiptId]);
    expect(first.receiptId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
    expect(second.receiptId).not.toBe(first.receiptId);
    expect(first).toMatchObject({
      kind: 'user',
      state: 'pending',
      requestedAtMs: 5,
      doneAtMs: undefined,
      encodings: [],
    });
  });

  it('waits until the erasure is done, and says what it did', async () => {
    answers = [PENDING, PENDING, new CkvError('dependency_unavailable', 'later'), DONE];
    expect(await kv.deleteUser('u', { receiptId: RECEIPT, wait: true })).toMatchObject({
      receiptId: RECEIPT,
      state: 'done',
      doneAtMs: 9,
      partial: true,
      encodings: [{ encodingId: 'b', recordCount: 0, positionCount: 1, remainder: 'later_rows' }],
    });
    expect(receiptIds).toEqual(Array(4).fill(RECEIPT));
  });

  it('goes on waiting although all tries of a poll fail, and keeps the receipt', async () => {
    const away = () => new CkvError('dependency_unavailable', 'later');
    answers = [PENDING, ...Array.from({ length: 6 }, away), DONE];
    expect(await kv.deleteUser('u', { receiptId: RECEIPT, wait: true })).toMatchObject({ state: 'done' });
    answers = [PENDING, away()];
    const receipt = await kv.deleteUser('u', { wait: true, timeoutMs: 300 });
    expect(receipt).toMatchObject({ state: 'pending', receiptId: receiptIds.at(-1) });
  });

  it('waits no longer for a job that was set aside', async () => {
    answers = [PENDING, { ...PENDING, state: 'RECEIPT_STATE_SET_ASIDE' }, DONE];
    expect(await kv.deleteUser('u', { wait: true })).toMatchObject({ state: 'set_aside' });
  });

  it('returns a pending receipt when the time is over', async () => {
    const receipt = await kv.deleteUser('u', { wait: true, timeoutMs: 300 });
    expect(receipt.state).toBe('pending');
    expect(receiptIds.length).toBeGreaterThan(1);
  });

  it('ends its wait when the caller gives up', async () => {
    const giveUp = new AbortController();
    const waiting = kv.deleteUser('u', { wait: true, timeoutMs: 60_000, signal: giveUp.signal });
    await expect.poll(() => receiptIds.length).toBeGreaterThan(1);
    giveUp.abort();
    await expect(waiting).rejects.toMatchObject({ reason: 'cancelled' });
  });

  it.each([
    ['userId', () => kv.deleteUser('')],
    ['userId', () => kv.deleteUser(7 as never)],
    ['receiptId', () => kv.deleteUser('u', { receiptId: 'user-u' })],
    ['wait', () => kv.deleteUser('u', { wait: 'yes' as never })],
    ['reciptId', () => kv.deleteUser('u', { reciptId: RECEIPT } as never)],
    ['interaction.eventId', () => kv.forgetInteraction({ userId: 'u', eventId: '' })],
    ['receiptId', () => kv.getReceipt('')],
  ])('refuses a wrong %s and sends nothing', async (field, call) => {
    await expect(call()).rejects.toMatchObject({ reason: 'invalid_request', field });
    expect(receiptIds).toEqual([]);
  });
});

it('forgets an interaction with a receipt, and reads the receipt later', async () => {
  answers = [{ ...PENDING, kind: 'ERASURE_KIND_INTERACTION' }];
  const receipt = await kv.forgetInteraction({ userId: 'u', eventId: 'e' });
  expect(receipt.kind).toBe('interaction');
  expect(await kv.getReceipt(receipt.receiptId)).toEqual(receipt);
});
