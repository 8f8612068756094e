import { once } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { useQueue } from './queue.fixture.js';
import { MAX_RECORD_ENCODINGS, openRecordEncodings } from './record-encodings.js';

const queue = useQueue();

describe('the list of encodings', () => {
  const key = '{ckv}:record-encodings-by-time';

  it('notes each encoding once, and returns those of all updaters', async () => {
    const [one, two] = [0, 1].map(() => openRecordEncodings(queue.service(), 'ckv'));
    await one?.note(['a', 'b']);
    await two?.note(['b', 'c']);
    expect((await one?.all())?.sort()).toEqual(['a', 'b', 'c']);
    await queue.client().del(key);
    await one?.note(['a', 'b']);
    expect(await one?.all()).toEqual([]);
    await one?.note(['d']);
    expect(await one?.all()).toEqual(['d']);
  });

  it('returns the bundles that were noted before records were bound to encodings, too', async () => {
    await queue.client().zadd('{ckv}:record-bundles-by-time', 1, 'bundle');
    const encodings = openRecordEncodings(queue.service(), 'ckv');
    await encodings.note(['a']);
    expect(await encodings.all()).toEqual(['a', 'bundle']);
  });

  it('finds those that nobody has noted for a time, and forgets one only if it is still so', async () => {
    const encodings = openRecordEncodings(queue.service(), 'ckv');
    const [seconds] = await queue.client().time();
    const nowMs = Number(seconds) * 1_000;
    await queue.client().zadd(key, nowMs - 90_000, 'old', nowMs - 120_000, 'older', nowMs - 30_000, 'young');
    expect(await encodings.stale(60_000)).toEqual(['older', 'old']);
    await encodings.forget('older', 60_000);
    await encodings.forget('young', 60_000);
    expect(await encodings.all()).toEqual(['old', 'young']);
    expect(await encodings.stale(60_000)).toEqual(['old']);
  });

  it('gives the turn to one updater within the time', async () => {
    const [one, two] = [0, 1].map(() => openRecordEncodings(queue.service(), 'ckv'));
    expect(await one?.takeTurn(60_000)).toBe(true);
    expect(await two?.takeTurn(60_000)).toBe(false);
    expect(await queue.client().pttl('{ckv}:sweep-turn')).toBeGreaterThan(0);
    await queue.client().del('{ckv}:sweep-turn');
    expect(await two?.takeTurn(60_000)).toBe(true);
  });

  it('notes each encoding again after its connection was lost: the server may lack the latest writes', async () => {
    const client = await queue.connect();
    const encodings = openRecordEncodings(client, 'ckv');
    await encodings.note(['a']);
    await queue.client().del(key);
    const closed = once(client, 'close');
    client.disconnect(true);
    await closed;
    await vi.waitUntil(() => client.status === 'ready', { timeout: 10_000 });
    await encodings.note(['a']);
    expect(await encodings.all()).toEqual(['a']);
  });

  it('forgets the encodings noted least recently beyond its bound, so that a deletion can name all', async () => {
    const old = Array.from({ length: MAX_RECORD_ENCODINGS + 9 }, (_, n) => [n + 1, `old-${n}`]);
    await queue.client().zadd(key, ...old.flat());
    const encodings = openRecordEncodings(queue.service(), 'ckv');
    await encodings.note(['new']);
    const all = await encodings.all();
    expect([all.length, all[0], all.at(-1)]).toEqual([MAX_RECORD_ENCODINGS, 'old-10', 'new']);
  });
});
