// Batches of streams are read from a real queue, and applied. The fixture's writer replaces the records.
import { CkvError, RECENT_EVENT_RING } from '@collectivekv/domain';
import { type EncodingClaim, isClaimed, openEncodingClaims, openWarmings } from '@collectivekv/update-queue';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  bench,
  ENCODING,
  enqueue,
  interactionOf,
  PARTITION_COUNT,
  RATE,
  samples,
  transient,
  u,
  useJobBatches,
  v,
  w,
  work,
} from '../batches/job-batches.fixture.js';

useJobBatches();

const held = () => bench.queues.map((queue, i) => ({ queue, fence: bench.fences[i] as (typeof bench.fences)[number] }));
const warmings = () => openWarmings({ client: bench.client, keyPrefix: 'ckv', partitionCount: PARTITION_COUNT });
const plan = { bundleId: 'b', source: 'files', digest: 'd', rowCount: 9 } as const;
const rows = (...events: [userId: string, eventId: string][]) =>
  events.map(([userId, eventId]) => interactionOf(userId, eventId));
const phases = async () => (await warmings().all()).flatMap(({ partitions }) => partitions.map(({ phase }) => phase));

let claim: EncodingClaim;
beforeEach(async () => {
  const taken = await openEncodingClaims(bench.client, 'ckv').take(ENCODING, 'the test');
  if (!isClaimed(taken)) throw new Error(`held by ${taken.holder}`);
  claim = taken;
});
afterEach(() => claim.leave());

/** Begins a warming, and arms and opens all partitions. */
async function begin(): Promise<void> {
  await warmings().begin(claim, plan);
  for (const queue of bench.queues) await queue.warming.arm(true, [ENCODING]);
  await warmings().open(claim);
}
/** Makes steps until every partition is live. */
async function warmAll(): Promise<void> {
  for (let i = 0; i < 50 && bench.warmer.dueInMs(held()) < Number.POSITIVE_INFINITY; i++)
    await bench.warmer.step(held(), false);
}

describe('the warmer', () => {
  it('applies rows of files, then what was logged meanwhile, until every partition is live', async () => {
    await begin();
    await enqueue([u, 'c'], [v, 'd']);
    await work();
    await warmings().send(claim, rows([u, 'a'], [v, 'b'], [u, 'b']), 0, true);
    bench.calls = [];
    await warmAll();
    expect(bench.calls).toEqual([`warm ${u}:a,b ${v}:b`, `warm ${u}:c ${v}:d`]);
    expect(await phases()).toEqual(['live', 'live']);
    expect(await samples('ckv_warmed_interactions_total')).toEqual({ appended: 5, duplicate: 2 });
    expect(await samples('ckv_warming_batches_total')).toEqual({ done: 4 });
    expect((await samples('ckv_interactions_total')).appended).toBe(2);
  });

  it('makes partitions live though live interactions come between any two steps', async () => {
    await begin();
    await warmings().send(claim, [], 0, true);
    for (const eventId of ['a', 'b', 'c']) {
      await enqueue([u, eventId], [v, eventId]);
      await work();
      await bench.warmer.step(held(), true);
    }
    expect(await phases()).toEqual(['live', 'live']);
    expect(bench.calls.filter((call) => call.startsWith('warm'))[0]).toMatch(/^warm .*:a/);
  });

  it('keeps live interactions from the records until their partition is live, and encodes them in vain nowhere', async () => {
    await begin();
    await enqueue([u, 'a'], [v, 'b']);
    await work();
    expect([bench.direct, bench.encodesWarming]).toEqual([[], [false]]);
    await warmings().send(claim, [], 0, true);
    await warmAll();
    await enqueue([u, 'c']);
    await work();
    expect([bench.direct, bench.encodesWarming]).toEqual([[u], [false, true]]);
    expect(bench.calls.filter((call) => call.startsWith('warm'))).toEqual([`warm ${u}:a ${v}:b`]);
  });

  it('writes to the records of the partitions that are live, and not to those of others', async () => {
    await begin();
    await bench.client.hset('{ckv}:warming-1', `${ENCODING}:phase`, 'live');
    await bench.queues[1]?.warming.arm(true, [ENCODING]);
    await enqueue([u, 'a'], [v, 'b']);
    await work();
    expect([bench.direct, bench.encodesWarming]).toEqual([[v], [true]]);
  });

  it.each([
    ['before', 1],
    ['behind', 2],
  ])('repeats at most one wave after a death %s its append: the records know no more', async (_, appended) => {
    await begin();
    const events = Array.from({ length: 2 * RECENT_EVENT_RING }, (_, i) => [u, `e${i}`] as [string, string]);
    await warmings().send(claim, rows(...events, [w, 'a']), 0, true);
    const [queue] = bench.queues;
    if (!queue) throw new Error('there is no queue');
    const { complete } = queue.warming;
    let completed = 0;
    const dies = () => new CkvError('conflict', 'the updater dies');
    bench.onCall = (call) => {
      if (call.startsWith('warm') && appended === 1 && completed === 1) throw dies();
    };
    const dying = {
      ...queue.warming,
      complete: async (...args: Parameters<typeof complete>) => {
        if (completed === 1) throw dies();
        await complete(...args);
        completed++;
      },
    };
    bench.stopping.abort(); // ends the retries
    const [partition, ...others] = held();
    if (!partition) throw new Error('nothing is held');
    const first = { ...partition, queue: { ...partition.queue, warming: dying } };
    await expect(bench.warmer.step([first, ...others], false)).rejects.toMatchObject({ reason: 'conflict' });
    bench.onCall = () => undefined;
    bench.calls = [];
    await queue.recover();
    await queue.warming.arm(true, [ENCODING]);
    await bench.warmer.step(held(), false);
    const last = events.slice(RECENT_EVENT_RING).map(([, eventId]) => eventId);
    expect(bench.calls).toEqual([`warm ${u}:${last} ${w}:a`]);
  });

  it('leaves out a user whose record is refused, and goes on with the others', async () => {
    await begin();
    bench.failures = [{ of: 'warm', user: u, error: new CkvError('bundle_mismatch', 'of another bundle') }];
    await warmings().send(claim, rows([u, 'a'], [w, 'b']), 0, false);
    await bench.warmer.step(held(), false);
    await warmings().send(claim, rows([w, 'c']), 2, true);
    await bench.warmer.step(held(), false);
    expect(bench.calls).toEqual([`warm ${u}:a ${w}:b`, `warm ${u}:a`, `warm ${w}:b`, `warm ${w}:c`]);
    expect(await samples('ckv_warming_batches_total')).toEqual({ failed: 1, done: 1 });
  });

  it('applies a wave again after a transient error', async () => {
    await begin();
    bench.failures = [{ of: 'warm', error: transient() }];
    await warmings().send(claim, rows([u, 'a']), 0, true);
    await bench.warmer.step(held(), false);
    expect(bench.calls).toEqual([`warm ${u}:a`, `warm ${u}:a`]);
  });

  it('harms no live interaction if its encoding fails, and tries again later', async () => {
    await begin();
    bench.encodeFailure = new CkvError('bug', 'a graph is broken');
    await warmings().send(claim, rows([u, 'a']), 0, true);
    await bench.warmer.step(held(), false);
    expect(bench.calls).toEqual([]);
    expect(bench.warmer.dueInMs(held())).toBeGreaterThan(250);
    bench.encodeFailure = undefined;
    await bench.warmer.step(held(), false);
    expect(bench.calls).toEqual([`warm ${u}:a`]);
  });

  it('applies a wave again if the last bundle of its encoding was dropped meanwhile', async () => {
    await begin();
    await warmings().send(claim, rows([u, 'a']), 0, true);
    bench.onCall = () => {
      bench.knowsEncoding = false;
    };
    await bench.warmer.step(held(), false);
    bench.knowsEncoding = true;
    bench.onCall = () => undefined;
    await bench.warmer.step(held(), false);
    expect(bench.calls).toEqual([1, 2].map(() => `warm ${u}:a`));
  });

  it('leaves out an entry that is no interaction', async () => {
    await begin();
    await warmings().send(claim, rows([u, 'a']), 0, false);
    await bench.client.xadd(`{ckv}:warming-0:files:${ENCODING}`, '*', 'user', u, 'event', 'b', 'rest', '{');
    await warmings().send(claim, rows([u, 'c']), 1, true);
    await warmAll();
    expect(bench.calls).toEqual([`warm ${u}:a,c`]);
    expect(await phases()).toEqual(['live', 'live']);
  });

  it('waits for a bundle of the encoding', async () => {
    await begin();
    await warmings().send(claim, rows([u, 'a']), 0, true);
    bench.knowsEncoding = false;
    await bench.warmer.step(held(), false);
    expect(bench.calls).toEqual([]);
    bench.knowsEncoding = true;
    await bench.warmer.step(held(), false);
    expect(bench.calls).toEqual([`warm ${u}:a`]);
  });

  describe('with a clock of the test', () => {
    let clockMs = 0;
    beforeEach(() => {
      clockMs = 1_000;
      vi.spyOn(performance, 'now').mockImplementation(() => clockMs);
    });
    afterEach(() => vi.restoreAllMocks());

    it('is never due if nothing is being warmed, and due at once if something is', async () => {
      expect(bench.warmer.dueInMs(held())).toBe(Number.POSITIVE_INFINITY);
      await begin();
      expect(bench.warmer.dueInMs(held())).toBe(0);
      expect(bench.warmer.dueInMs([])).toBe(Number.POSITIVE_INFINITY);
    });

    it('keeps to its rate', async () => {
      await begin();
      await warmings().send(claim, rows([u, 'a'], [u, 'b'], [v, 'c'], [u, 'd'], [u, 'e']), 0, false);
      await bench.warmer.step(held(), false);
      expect(bench.warmer.dueInMs(held())).toBeCloseTo((1_000 * 5) / RATE, 9);
    });

    it('takes a third of the time while live jobs wait', async () => {
      await begin();
      await warmings().send(claim, rows([u, 'a']), 0, false);
      bench.onCall = () => {
        clockMs += 30;
      };
      await bench.warmer.step(held(), true);
      expect(bench.warmer.dueInMs(held())).toBe(60);
    });

    it('takes more of the time while the event log grows in spite of its steps, until it has caught up', async () => {
      await begin();
      await warmings().send(claim, [], 0, true);
      await bench.warmer.step(held(), true); // leads to the event log
      bench.onCall = () => {
        clockMs += 30;
      };
      let entry = 0;
      const log = async (count: number) => {
        for (let i = 0; i < count; i++) {
          const { userId, eventId, ...rest } = interactionOf(u, `${++entry}`);
          const fields = ['user', userId, 'event', eventId, 'rest', JSON.stringify(rest)];
          await bench.client.xadd('{ckv}:event-log-0', `${entry * 1_000}-1`, ...fields);
        }
      };
      const pauses: number[] = [];
      for (const growth of [200, 300, 500, 900, 1, 1]) {
        await log(growth);
        const [calls, beganMs] = [bench.calls.length, clockMs];
        await bench.warmer.step(held(), true);
        expect(bench.calls.length).toBeGreaterThan(calls);
        pauses.push(bench.warmer.dueInMs(held()) / (clockMs - beganMs));
        clockMs += 60_000;
      }
      expect(pauses).toEqual([2, 1, 0.5, 0.25, 0.25, 0.25]);
    });

    it('looks four times a second while nothing comes', async () => {
      await begin();
      await bench.warmer.step(held(), false);
      expect(bench.warmer.dueInMs(held())).toBe(250);
    });
  });
});
