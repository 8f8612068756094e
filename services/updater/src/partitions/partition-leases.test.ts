import { hostname } from 'node:os';
import { CkvError } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { CLOCK_MARGIN_MS, type HeldLeases, type LeaseTable, openLeaseTable } from '@collectivekv/update-queue';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Fence } from './fence.js';
import { createPartitionLeases, LEASE_MS, type PartitionLeases } from './partition-leases.js';

afterEach(() => void vi.restoreAllMocks());

/** Sets this process's monotonic clock. */
const setClock = (ms: number) => void vi.spyOn(performance, 'now').mockReturnValue(ms);

describe('leases in Redis', () => {
  let redis: PrivateRedis;
  let client: RedisClient;
  beforeAll(async () => {
    redis = await startTemporaryRedis();
    client = await connectedRedis(redis.url, { field: 'url', name: 'test', whenAway: 'fail' });
  });
  afterAll(async () => {
    closeRedis(client);
    await redis.stop();
  });
  beforeEach(async () => {
    await client.flushall();
  });

  const join16 = () => createPartitionLeases(openLeaseTable(client, 'ckv', 16));
  const partitionsOf = (fences: readonly Fence[]) => fences.map(({ partition }) => partition);
  const releaseSurplus = async (leases: PartitionLeases) => {
    const { held, surplus } = await leases.renew();
    await leases.release(partitionsOf(held).slice(0, surplus));
  };

  it('names every member after its host, with a name of its own and no space', () => {
    const names = [join16().member, join16().member];
    expect(new Set(names).size).toBe(2);
    for (const name of names) {
      expect(name).toContain(hostname().replace(/\s/g, '_'));
      expect(name).toMatch(/^\S+-\d+-[0-9a-f]{8}$/);
    }
  });

  it('gives one member everything, and a fair share to each that joins', async () => {
    const [a, b, c] = [join16(), join16(), join16()];
    expect((await a.renew()).held.length).toBe(16);
    expect(await b.renew()).toEqual({ held: [], surplus: 0 });
    const { held, surplus } = await a.renew();
    expect(surplus).toBe(8);
    const given = partitionsOf(held).slice(0, surplus);
    await a.release(given);
    expect(partitionsOf((await b.renew()).held)).toEqual(given);
    await c.renew();
    const shares = [await a.renew(), await b.renew()].map((share) => share.held.length - share.surplus);
    expect(shares.every((share) => share === 5 || share === 6)).toBe(true);
  });

  it('never lets two members hold a partition, whatever they do', async () => {
    const members = [join16(), join16(), join16()];
    const fences = new Set<Fence>();
    for (let i = 0; i < 60; i++) {
      const one = members[(i * 7) % 3];
      if (!one) continue;
      for (const fence of (await one.renew()).held) fences.add(fence);
      if (i % 4 === 0) await releaseSurplus(one);
      if (i % 13 === 0) await one.leave();
      const held = partitionsOf([...fences].filter((fence) => fence.isHeld()));
      expect(new Set(held).size).toBe(held.length);
    }
  });

  it("takes over a dead member's partitions when its lease ends, and a leaving member's at once", async () => {
    const [dead, next, last] = [join16(), join16(), join16()];
    await dead.renew();
    await client.zadd('{ckv}:updaters', 1, dead.member); // its heartbeats stopped long ago
    for (let partition = 0; partition < 16; partition++) {
      await client.hset('{ckv}:partition-leases', partition, `${dead.member} 1`);
    }
    const { held } = await next.renew();
    expect(held.length).toBe(16);
    await next.leave();
    expect(held.some((fence) => fence.isHeld())).toBe(false);
    expect((await last.renew()).held.length).toBe(16);
  });

  it("fences appends at the end of the lease by Redis's clock, less the margin between two Redis clocks", async () => {
    vi.spyOn(Date, 'now').mockReturnValue(1); // the process's own clock plays no part
    const { held } = await join16().renew();
    const [fence] = held;
    const [, endsMs = ''] = (await client.hget('{ckv}:partition-leases', '0'))?.split(' ') ?? [];
    expect(fence?.validUntilMs()).toBe(Number(endsMs) - CLOCK_MARGIN_MS);
    const [seconds] = await client.time();
    expect(Math.abs(Number(endsMs) - LEASE_MS - Number(seconds) * 1_000)).toBeLessThan(60_000);
  });

  it('keeps the fence of a lease that is renewed, and moves its end on', async () => {
    const leases = join16();
    const [first] = (await leases.renew()).held;
    const beforeMs = first?.validUntilMs() ?? 0;
    await vi.waitUntil(async () => {
      const [again] = (await leases.renew()).held;
      expect(again).toBe(first);
      return (again?.validUntilMs() ?? 0) > beforeMs;
    });
    expect(first?.term).toBe(1);
  });

  it('begins new fences in the same terms after all fences were ended, as for a Redis that may have lost writes', async () => {
    const leases = join16();
    const { held } = await leases.renew();
    leases.endFences();
    expect(held.some((fence) => fence.isHeld())).toBe(false);
    const { held: again } = await leases.renew();
    expect(again.map(({ partition, term }) => [partition, term])).toEqual(
      held.map(({ partition, term }) => [partition, term]),
    );
    expect(again.every((fence) => fence.isHeld())).toBe(true);
    expect(held.some((fence) => fence.isHeld())).toBe(false);
  });

  it('begins a new term when its lease ran out, though nobody else took the partition', async () => {
    const leases = join16();
    const [first] = (await leases.renew()).held;
    await client.hset('{ckv}:partition-leases', '0', `${leases.member} 1`);
    const again = (await leases.renew()).held.find(({ partition }) => partition === 0);
    expect([first?.isHeld(), again?.isHeld()]).toEqual([false, true]);
    expect([first?.term, again?.term]).toEqual([1, 2]);
  });

  it('begins a new term when another member held the partition in between', async () => {
    const [one, other] = [join16(), join16()];
    const [first] = (await one.renew()).held;
    await one.leave();
    await other.renew();
    await other.leave();
    const [again] = (await one.renew()).held;
    expect([first?.isHeld(), again?.isHeld()]).toEqual([false, true]);
    expect([first?.term, again?.term]).toEqual([1, 3]);
  });

  it('ends the fence of a partition that another member took', async () => {
    const [one, other] = [join16(), join16()];
    const { held } = await one.renew();
    await client.hset('{ckv}:partition-leases', 5, `${other.member} 9999999999999`);
    expect(partitionsOf((await one.renew()).held)).not.toContain(5);
    expect(held[5]?.isHeld()).toBe(false);
    expect(held[6]?.isHeld()).toBe(true);
  });
});

describe("the process's belief in its leases", () => {
  const term = (partition: number) => ({ partition, member: 'one', term: 1 });
  let hold: () => Promise<HeldLeases>;
  let calls: string[];
  let leases: PartitionLeases;
  const table: LeaseTable = {
    hold: () => {
      calls.push('hold');
      return hold();
    },
    async release(_, partitions, endsMs) {
      calls.push(`release ${partitions} until ${endsMs}`);
    },
    async leave(_, partitions) {
      calls.push(`leave ${partitions}`);
    },
  };
  const answer = (...partitions: number[]): HeldLeases => ({ share: 9, endsMs: 7_000, terms: partitions.map(term) });
  beforeEach(() => {
    calls = [];
    hold = async () => answer(3, 4);
    leases = createPartitionLeases(table);
  });

  it('lasts a lease from the time of the question, however late the answer comes', async () => {
    setClock(1_000);
    hold = async () => {
      setClock(4_000); // the answer was 3 s under way
      return answer(3);
    };
    const [fence] = (await leases.renew()).held;
    expect(fence?.isHeld()).toBe(true);
    setClock(1_000 + LEASE_MS - 1);
    expect(fence?.isHeld()).toBe(true);
    setClock(1_000 + LEASE_MS);
    expect(fence?.isHeld()).toBe(false);
  });

  it('resumes when a renewal says that the term goes on', async () => {
    setClock(0);
    const [fence] = (await leases.renew()).held;
    setClock(LEASE_MS);
    expect(fence?.isHeld()).toBe(false);
    await leases.renew();
    expect(fence?.isHeld()).toBe(true);
  });

  it('ends with the release, before Redis knows of it', async () => {
    const [first, second] = (await leases.renew()).held;
    const held = vi.fn(() => [first?.isHeld(), second?.isHeld()]);
    vi.spyOn(table, 'release').mockImplementationOnce(async () => void held());
    await leases.release([3]);
    expect(held).toHaveReturnedWith([false, true]);
    vi.spyOn(table, 'leave').mockImplementationOnce(async (_, partitions) => {
      calls.push(`leave ${partitions}`);
      held();
    });
    await leases.leave();
    expect(held).toHaveReturnedWith([false, false]);
    expect(calls).toEqual(['hold', 'leave 4']);
  });

  it('does not believe in a fence again that it ended, though the release did not reach Redis', async () => {
    const [fence] = (await leases.renew()).held;
    vi.spyOn(table, 'release').mockRejectedValueOnce(new CkvError('dependency_unavailable', 'away'));
    await expect(leases.release([3])).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    const [again] = (await leases.renew()).held;
    expect([fence?.isHeld(), again?.isHeld()]).toEqual([false, true]);
  });

  it('asks one question at a time: a release waits for the renewal before it', async () => {
    let end: (held: HeldLeases) => void = () => undefined;
    hold = () =>
      new Promise((resolve) => {
        end = resolve;
      });
    const renewed = leases.renew();
    const released = leases.release([3]);
    await vi.waitUntil(() => calls.length > 0);
    expect(calls).toEqual(['hold']);
    end(answer(3));
    const [fence] = (await renewed).held;
    await released;
    expect(calls).toEqual(['hold', 'release 3 until 7000']);
    expect(fence?.isHeld()).toBe(false);
  });

  it('goes on after a question that failed', async () => {
    hold = () => Promise.reject(new CkvError('dependency_unavailable', 'away'));
    await expect(leases.renew()).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    hold = async () => answer(3);
    expect((await leases.renew()).held.length).toBe(1);
  });

  it('counts the partitions beyond the share, and none below it', async () => {
    hold = async () => ({ ...answer(1, 2, 3), share: 2 });
    expect((await leases.renew()).surplus).toBe(1);
    hold = async () => ({ ...answer(1), share: 2 });
    expect((await leases.renew()).surplus).toBe(0);
  });
});
