import { describe, expect, it } from 'vitest';
import { useQueue } from './queue.fixture.js';
import { openReceipts, type Receipts } from './receipts.js';

const queue = useQueue();
const open = (): Receipts => openReceipts({ client: queue.service(), keyPrefix: 'ckv', ttlS: 600 });
const erasure = { receiptId: '2f1f7c4e-0000-4000-8000-000000000001', userId: 'user-of-the-receipt' };
const key = `{ckv}:receipt:${erasure.receiptId}`;
const report = {
  encodings: [{ encodingId: 'b', recordCount: 1, unreadableCount: 0, positionCount: 0, remainder: 'nothing' as const }],
  setAsideCount: 1,
  waitingCount: 2,
  keptCount: 3,
};

async function redisNowMs(): Promise<number> {
  const [seconds, microseconds] = (await queue.client().time()) as [number, number];
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}

describe('a receipt', () => {
  it('goes from pending to done, by the clock of Redis', async () => {
    const receipts = open();
    const beforeMs = await redisNowMs();
    const opened = await receipts.open(erasure);
    expect(opened).toMatchObject({ id: erasure.receiptId, kind: 'delete', state: 'pending', tryCount: 0, doneAtMs: 0 });
    await receipts.begin(erasure);
    expect(await receipts.begin(erasure)).toMatchObject({ state: 'pending', tryCount: 2 });
    await receipts.finish(erasure, report);
    const done = await receipts.get(erasure.receiptId);
    expect(done).toMatchObject({ state: 'done', tryCount: 2, report });
    expect(opened.requestedAtMs).toBeGreaterThanOrEqual(beforeMs);
    expect(done?.requestedAtMs).toBe(opened.requestedAtMs);
    expect(done?.doneAtMs).toBeGreaterThanOrEqual(opened.requestedAtMs);
    expect(done?.doneAtMs).toBeLessThanOrEqual(await redisNowMs());
  });

  it('is readable if it names bundles, as before records were bound to encodings', async () => {
    const { encodings, ...counts } = report;
    const bundles = encodings.map(({ encodingId, ...erased }) => ({ bundleId: encodingId, ...erased }));
    await open().finish(erasure, report);
    await queue.client().hset(key, 'report', JSON.stringify({ bundles, ...counts }));
    expect((await open().get(erasure.receiptId))?.report).toEqual(report);
  });

  it('does not change after it is done', async () => {
    const receipts = open();
    await receipts.finish(erasure, report);
    const done = await receipts.get(erasure.receiptId);
    expect(await receipts.begin(erasure)).toEqual(done);
    expect(await receipts.open(erasure)).toEqual(done);
    await receipts.setAside(erasure);
    await receipts.finish(erasure, { ...report, keptCount: 9 });
    expect(await receipts.get(erasure.receiptId)).toEqual(done);
  });

  it('says that its job was set aside, until another try begins', async () => {
    const receipts = open();
    await receipts.setAside(erasure);
    expect(await receipts.get(erasure.receiptId)).toMatchObject({ state: 'aside' });
    expect(await receipts.begin(erasure)).toMatchObject({ state: 'pending', tryCount: 1 });
  });

  it('is pending again after its job was queued again, unless it was set aside since', async () => {
    const receipts = open();
    await receipts.setAside(erasure);
    const claimed = await receipts.claim(erasure);
    expect(claimed).toMatchObject({ state: 'aside', asideCount: 1 });
    expect(await receipts.open(erasure, claimed)).toMatchObject({ state: 'pending' });
    await receipts.setAside(erasure);
    expect(await receipts.open(erasure, claimed)).toMatchObject({ state: 'aside', asideCount: 2 });
  });

  it('that was claimed alone expires within a minute; one that was opened does not', async () => {
    const receipts = open();
    expect(await receipts.claim(erasure)).toMatchObject({ state: 'pending' });
    expect(await queue.client().ttl(key)).toBeLessThanOrEqual(60);
    await receipts.open(erasure);
    await receipts.claim(erasure);
    expect(await queue.client().ttl(key)).toBeGreaterThan(500);
  });

  it('names no user, in no field, and has a TTL that every step renews', async () => {
    const receipts = open();
    await receipts.open(erasure);
    await receipts.finish({ ...erasure }, report);
    const text = JSON.stringify([await queue.client().keys('*'), await queue.client().hgetall(key)]);
    expect(text).not.toMatch(/user-of|of-the-receipt/);
    expect((await queue.client().hget(key, 'check'))?.length).toBe(2);
    expect(await queue.client().ttl(key)).toBeGreaterThan(500);
  });

  it('is refused to most other users and events, and stays as it is', async () => {
    const receipts = open();
    const opened = await receipts.open(erasure);
    const others = Array.from({ length: 50 }, (_, i) => ({ ...erasure, userId: `other ${i}` }));
    const outcomes = await Promise.allSettled(others.map((other) => receipts.claim(other)));
    await Promise.allSettled(others.map((other) => receipts.begin(other)));
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(45);
    expect(refused[0]).toMatchObject({ reason: { reason: 'invalid_request', field: 'receipt_id' } });
    await expect(receipts.setAside({ ...erasure, eventId: 'e' })).rejects.toMatchObject({ field: 'receipt_id' });
    expect({ ...(await receipts.get(erasure.receiptId)), tryCount: 0 }).toEqual(opened);
  });

  it('is undefined for an unknown id', async () => {
    expect(await open().get(erasure.receiptId)).toBeUndefined();
  });
});
