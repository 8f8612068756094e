// The ledger of the queue against a real Redis: predicted bytes of jobs and receipts, and those that Redis counts.
import type { Interaction } from '@collectivekv/domain';
import { storedBytes } from '@collectivekv/private-redis';
import { tableBytes } from '@collectivekv/redis-memory';
import { describe, expect, it } from 'vitest';
import { interactionOf, useQueue } from './queue.fixture.js';
import { jobMemory, receiptBytes } from './queue-memory.js';
import { openReceipts } from './receipts.js';

const queue = useQueue();
const JOBS = 2_800; // each partition remembers more than a packed hash holds
const JOBS_AT_ONCE = 100;
const RECEIPTS = 1_000;

/** Returns the interactions of the i-th job, all of one user. */
function jobOf(i: number, size: number): Interaction[] {
  return Array.from({ length: size }, (_, j) => {
    const n = 1_000_000 + i * size + j;
    return { ...interactionOf(n), userId: `user-${1_000_000 + i}`, eventId: `event-${n}` };
  });
}

function expectNear(actual: number, predicted: number): void {
  const off = actual / predicted - 1;
  expect(Math.abs(off), `${actual} bytes, predicted ${predicted}: off by ${(100 * off).toFixed(1)} %`).toBeLessThan(
    0.05,
  );
}

describe('jobMemory', () => {
  it.each([
    ['one interaction', 1, ''],
    ['12 interactions', 12, ''],
    ['one interaction of a call with a key', 1, 'call'],
  ])('predicts the bytes of jobs with %s, waiting and done', async (_, size, call) => {
    const producer = queue.produce();
    const enqueue = (i: number) => producer.enqueue(jobOf(i, size), call === '' ? '' : `${call}${i}`);
    for (let i = JOBS; i < JOBS + JOBS_AT_ONCE; i++) await enqueue(i); // fills the streams of events
    const before = await storedBytes(queue.client());
    for (let from = 0; from < JOBS; from += JOBS_AT_ONCE) {
      await Promise.all(Array.from({ length: JOBS_AT_ONCE }, (_, i) => enqueue(from + i)));
    }
    const job = { keyPrefix: 'ckv', interactions: jobOf(0, size), keyed: call !== '' };
    const { waitingBytes, rememberedBytes } = jobMemory(job);
    const tables = call === '' ? tableBytes(JOBS) : tableBytes(2 * JOBS) + tableBytes(JOBS); // of keys, and of expiries
    expectNear((await storedBytes(queue.client())) - before, JOBS * (waitingBytes + rememberedBytes) + tables);
  });
});

it('predicts the bytes of a receipt', async () => {
  const receipts = openReceipts({ client: queue.service(), keyPrefix: 'ckv', ttlS: 1_000 });
  const idOf = (i: number) => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
  const encoding = { encodingId: '0'.repeat(16), recordCount: 1, unreadableCount: 0, positionCount: 1_000 };
  const report = {
    encodings: [{ ...encoding, remainder: 'nothing' as const }],
    setAsideCount: 0,
    waitingCount: 0,
    keptCount: 0,
  };
  const erase = async (i: number) => {
    const erasure = { receiptId: idOf(i), userId: `user-${i}` };
    await receipts.begin(erasure);
    await receipts.finish(erasure, report);
  };
  await erase(RECEIPTS);
  const before = await storedBytes(queue.client());
  await Promise.all(Array.from({ length: RECEIPTS }, (_, i) => erase(i)));
  expectNear((await storedBytes(queue.client())) - before, RECEIPTS * receiptBytes('ckv') + 2 * tableBytes(RECEIPTS));
});
