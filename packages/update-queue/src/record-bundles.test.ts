import { once } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { useQueue } from './queue.fixture.js';
import { MAX_RECORD_BUNDLES, openRecordBundles } from './record-bundles.js';

const queue = useQueue();

describe('the list of bundles', () => {
  const key = '{ckv}:record-bundles-by-time';

  it('notes each bundle once, and returns those of all updaters', async () => {
    const [one, two] = [0, 1].map(() => openRecordBundles(queue.service(), 'ckv'));
    await one?.note(['a', 'b']);
    await two?.note(['b', 'c']);
    expect((await one?.all())?.sort()).toEqual(['a', 'b', 'c']);
    await queue.client().del(key);
    await one?.note(['a', 'b']);
    expect(await one?.all()).toEqual([]);
    await one?.note(['d']);
    expect(await one?.all()).toEqual(['d']);
  });

  it('notes each bundle again after its connection was lost: the server may lack the latest writes', async () => {
    const client = await queue.connect();
    const bundles = openRecordBundles(client, 'ckv');
    await bundles.note(['a']);
    await queue.client().del(key);
    const closed = once(client, 'close');
    client.disconnect(true);
    await closed;
    await vi.waitUntil(() => client.status === 'ready', { timeout: 10_000 });
    await bundles.note(['a']);
    expect(await bundles.all()).toEqual(['a']);
  });

  it('forgets the bundles noted least recently beyond its bound, so that a deletion can name all', async () => {
    const old = Array.from({ length: MAX_RECORD_BUNDLES + 9 }, (_, n) => [n + 1, `old-${n}`]);
    await queue.client().zadd(key, ...old.flat());
    const bundles = openRecordBundles(queue.service(), 'ckv');
    await bundles.note(['new']);
    const all = await bundles.all();
    expect([all.length, all[0], all.at(-1)]).toEqual([MAX_RECORD_BUNDLES, 'old-10', 'new']);
  });
});
