import { createLogger } from '@collectivekv/service-kit';
import type { PartitionQueue } from '@collectivekv/update-queue';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type HeldPartitions, holdPartitions } from './held-partitions.js';

const PARTITION = 3;
let steps: string[];
let surplus: number;
/** Since when the partition is held, by the monotonic clock, ms; undefined while another has it. */
let heldSinceMs: number | undefined;
let partitions: HeldPartitions;

beforeEach(async () => {
  steps = [];
  surplus = 0;
  heldSinceMs = performance.now();
  partitions = holdPartitions({
    leases: {
      member: 'one',
      async renew() {
        const renewed = { held: heldSinceMs === undefined ? [] : [PARTITION], surplus };
        surplus = 0;
        return renewed;
      },
      isHeld: () => heldSinceMs !== undefined,
      isHeldSince: (_, sinceMs) => heldSinceMs !== undefined && heldSinceMs <= sinceMs,
      remainingMs: () => 5_000,
      async release() {
        steps.push('release');
        heldSinceMs = undefined;
      },
      async leave() {
        steps.push('leave');
      },
    },
    openPartition: (partition) => {
      steps.push('open');
      const queue: Partial<PartitionQueue> = {
        partition,
        recover: async () => void steps.push('recover'),
        close: async () => void steps.push('close'),
      };
      return queue as PartitionQueue;
    },
    onHeld: () => undefined,
    log: createLogger('test', 'silent'),
  });
  await vi.waitUntil(() => partitions.isDue(), { interval: 1 });
  expect((await partitions.settle()).map(({ partition }) => partition)).toEqual([PARTITION]);
});
afterEach(() => partitions.stop());

it('opens a partition that comes, and puts back what its last consumer had taken', () => {
  expect(steps).toEqual(['open', 'recover']);
  expect(partitions.isDue()).toBe(false);
});

it('closes a partition that went', async () => {
  heldSinceMs = undefined;
  expect(partitions.isDue()).toBe(true);
  expect(await partitions.settle()).toEqual([]);
  expect(steps).toEqual(['open', 'recover', 'close']);
  expect(partitions.isDue()).toBe(false);
});

it('opens a partition anew that went and came back', async () => {
  heldSinceMs = performance.now() + 1;
  expect(partitions.isDue()).toBe(true);
  await partitions.settle();
  expect(steps).toEqual(['open', 'recover', 'close', 'open', 'recover']);
});

it('gives back what is beyond its share when it settles, not before', async () => {
  surplus = 1;
  await vi.waitUntil(() => partitions.isDue(), { timeout: 5_000 });
  expect(steps).not.toContain('release');
  expect(await partitions.settle()).toEqual([]);
  expect(steps).toEqual(['open', 'recover', 'close', 'release']);
});
