import { CkvError } from '@collectivekv/domain';
import { createLogger } from '@collectivekv/service-kit';
import type { PartitionQueue } from '@collectivekv/update-queue';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createFence, type RenewableFence } from './fence.js';
import { type HeldPartitions, holdPartitions } from './held-partitions.js';

const PARTITION = 3;
let steps: string[];
let surplus: number;
/** The fence that every renewal answers; undefined while another member has the partition. */
let fence: RenewableFence | undefined;
let renewFailures: number;
let failing: Set<string>;
let callsAreLate: boolean;
let heldCounts: number[];
let partitions: HeldPartitions;

function acquire(term: number): RenewableFence {
  const acquired = createFence({ partition: PARTITION, member: 'one', term });
  acquired.renew({ endsMs: 1, heldUntilMs: Number.POSITIVE_INFINITY, endedByMs: 0 });
  fence = acquired;
  return acquired;
}
async function step(name: string): Promise<void> {
  steps.push(name);
  if (failing.has(name)) throw new CkvError('dependency_unavailable', 'away');
}
const settled = async () => (await partitions.settle()).map((held) => held.fence.term);

beforeEach(async () => {
  steps = [];
  heldCounts = [];
  failing = new Set();
  surplus = 0;
  callsAreLate = false;
  renewFailures = 0;
  acquire(1);
  partitions = holdPartitions({
    latePassed: async () => {
      if (callsAreLate) steps.push('late calls passed');
    },
    leases: {
      async renew() {
        if (renewFailures-- > 0) throw new Error('away');
        const renewed = { held: fence ? [fence] : [], surplus };
        surplus = 0;
        return renewed;
      },
      async release() {
        fence?.end();
        fence = undefined;
        await step('release');
      },
      leave: () => step('leave'),
    },
    openPartition: ({ partition, term }) => {
      steps.push(`open ${term}`);
      const queue: Partial<PartitionQueue> = {
        partition,
        recover: () => step('recover'),
        close: () => step('close'),
      };
      return queue as PartitionQueue;
    },
    onHeld: (count) => heldCounts.push(count),
    log: createLogger('test', 'silent'),
  });
  await vi.waitUntil(() => partitions.isDue(), { interval: 1 });
  expect(await settled()).toEqual([1]);
});
afterEach(() => partitions.stop());

it('opens an acquired partition, and puts back the jobs that its last consumer had taken', () => {
  expect(steps).toEqual(['open 1', 'recover']);
  expect(partitions.isDue()).toBe(false);
  expect(heldCounts).toEqual([1]);
});

it('closes a lost partition', async () => {
  fence?.end();
  expect(partitions.isDue()).toBe(true);
  expect(await settled()).toEqual([]);
  expect(steps).toEqual(['open 1', 'recover', 'close']);
  expect(partitions.isDue()).toBe(false);
});

it('opens a partition again that was lost and came back, under its new term', async () => {
  fence?.end();
  acquire(2);
  await vi.waitUntil(() => heldCounts.length > 1, { timeout: 5_000 });
  expect(partitions.isDue()).toBe(true);
  expect(await settled()).toEqual([2]);
  expect(steps).toEqual(['open 1', 'recover', 'close', 'open 2', 'recover']);
});

it('gives back the partitions beyond its share when it settles, not before', async () => {
  surplus = 1;
  await vi.waitUntil(() => partitions.isDue(), { timeout: 5_000 });
  expect(steps).not.toContain('release');
  expect(await settled()).toEqual([]);
  expect(steps).toEqual(['open 1', 'recover', 'close', 'release']);
  expect(partitions.isDue()).toBe(false);
});

describe('the partitions beyond the share', () => {
  let share: number;
  let fences: RenewableFence[];
  let renewals: number;
  let released: number[];
  let failRelease: boolean;
  /** The partitions finish closing when this promise resolves. */
  let closed: Promise<void>;
  let endClosing: () => void;
  let three: HeldPartitions;

  const fenceOf = (partition: number) => {
    const created = createFence({ partition, member: 'one', term: 1 });
    created.renew({ endsMs: 1, heldUntilMs: Number.POSITIVE_INFINITY, endedByMs: 0 });
    return created;
  };

  beforeEach(async () => {
    share = 3;
    fences = [0, 1, 2].map(fenceOf);
    renewals = 0;
    released = [];
    failRelease = false;
    closed = new Promise((resolve) => {
      endClosing = resolve;
    });
    three = holdPartitions({
      latePassed: async () => undefined,
      leases: {
        async renew() {
          renewals++;
          return { held: [...fences], surplus: Math.max(0, fences.length - share) };
        },
        async release(given) {
          released.push(...given);
          for (const one of fences) if (given.includes(one.partition)) one.end();
          if (failRelease) throw new CkvError('dependency_unavailable', 'away');
          fences = fences.filter(({ partition }) => !given.includes(partition));
        },
        leave: async () => undefined,
      },
      openPartition: ({ partition }) => {
        const queue: Partial<PartitionQueue> = {
          partition,
          recover: async () => undefined,
          close: () => closed,
        };
        return queue as PartitionQueue;
      },
      onHeld: () => undefined,
      log: createLogger('test', 'silent'),
    });
    await vi.waitUntil(() => three.isDue(), { interval: 1 });
    expect(await three.settle()).toHaveLength(3);
    share = 2;
    await vi.waitUntil(() => three.isDue(), { timeout: 5_000 });
  });
  afterEach(() => three.stop());

  it('are given back once, though a heartbeat counts them again while they close', async () => {
    const settling = three.settle();
    const before = renewals;
    await vi.waitUntil(() => renewals > before, { timeout: 5_000 });
    endClosing();
    expect(await settling).toHaveLength(2);
    expect(three.isDue()).toBe(false);
    expect(await three.settle()).toHaveLength(2);
    expect(released).toEqual([0]);
  });

  it('are not replaced by others after a release that failed', async () => {
    failRelease = true;
    endClosing();
    await expect(three.settle()).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    expect(await three.settle()).toHaveLength(2);
    expect(released).toEqual([0]);
  });
});

it('gives nothing back that it does not hold', async () => {
  surplus = 1;
  await vi.waitUntil(() => partitions.isDue(), { timeout: 5_000 });
  fence?.end();
  expect(await settled()).toEqual([]);
  expect(steps).toEqual(['open 1', 'recover', 'close']);
});

it('opens a closed partition again and recovers its jobs', async () => {
  await partitions.closeAll();
  expect(partitions.isDue()).toBe(true);
  expect(await settled()).toEqual([1]);
  expect(steps).toEqual(['open 1', 'recover', 'close', 'open 1', 'recover']);
});

it('tries again to open a partition whose jobs could not be recovered', async () => {
  await partitions.closeAll();
  failing.add('recover');
  await expect(partitions.settle()).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  expect(steps.slice(-3)).toEqual(['open 1', 'recover', 'close']);
  failing.clear();
  expect(partitions.isDue()).toBe(true);
  expect(await settled()).toEqual([1]);
});

it('closes all the same if closing fails', async () => {
  failing.add('close');
  await partitions.closeAll();
  expect(await settled()).toEqual([1]);
});

it('renews again soon after a renewal that failed', async () => {
  renewFailures = 2;
  await vi.waitUntil(() => heldCounts.length > 1, { timeout: 5_000 });
  expect(renewFailures).toBeLessThan(0);
});

it('closes its partitions before it leaves, and ends though Redis is away', async () => {
  failing.add('leave');
  await partitions.stop();
  expect(steps.slice(-2)).toEqual(['close', 'leave']);
  failing.clear();
});

it('gives partitions back after late calls have passed', async () => {
  callsAreLate = true;
  steps = [];
  surplus = 1;
  await vi.waitUntil(() => partitions.isDue(), { interval: 1, timeout: 5_000 });
  await partitions.settle();
  expect(steps).toEqual(['close', 'late calls passed', 'release']);
  await partitions.stop();
  expect(steps.slice(-2)).toEqual(['late calls passed', 'leave']);
});
