import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { queuePrefix } from '@collectivekv/update-queue';

/** Which partitions this process may consume. */
export interface PartitionLeases {
  /** Unique to this process. */
  readonly member: string;
  /**
   * Renews what is held and takes what is free, up to a fair share.
   * @returns partitions held now, and how many of them are beyond the share and are to be released
   */
  renew(): Promise<{ held: number[]; surplus: number }>;
  /** True while no other process can have taken the partition, by this process's own clock. */
  isHeld(partition: number): boolean;
  /** True where it is held, and no other process can have had it in between, since then by the monotonic clock, ms. */
  isHeldSince(partition: number, sinceMs: number): boolean;
  /** How long the partition stays held at least, ms. */
  remainingMs(partition: number): number;
  release(partitions: readonly number[]): Promise<void>;
  /** Releases all and is no longer counted for the fair shares. */
  leave(): Promise<void>;
}

/** How long a lease lasts without renewal: the time until a dead updater's partitions go on. */
export const LEASE_MS = 5_000;

interface Scripts {
  ckvHoldLeases(members: string, leases: string, ...args: (string | number)[]): Promise<number[]>;
  ckvReleaseLeases(members: string, leases: string, ...args: (string | number)[]): Promise<number>;
}

/** Creates the leases of this process. They live beside the queues, in the same cluster slot. */
export function createPartitionLeases(client: RedisClient, keyPrefix: string, partitionCount: number): PartitionLeases {
  client.defineCommand('ckvHoldLeases', { numberOfKeys: 2, lua: readLua('hold-leases-2.lua') });
  client.defineCommand('ckvReleaseLeases', { numberOfKeys: 2, lua: readLua('release-leases-2.lua') });
  const scripts = client as unknown as Scripts;
  const membersKey = `${queuePrefix(keyPrefix)}:updaters`;
  const leasesKey = `${queuePrefix(keyPrefix)}:partition-leases`;
  const member = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`.replace(/\s/g, '_');
  let terms = new Map<number, { readonly sinceMs: number; readonly untilMs: number }>(); // by the monotonic clock

  const remainingMs = (partition: number) => (terms.get(partition)?.untilMs ?? 0) - performance.now();
  const isHeld = (partition: number) => remainingMs(partition) > 0;

  // One call at a time: an answer to a renewal that was asked before a release would bring back what was released.
  let last: Promise<unknown> = Promise.resolve();
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = last.then(() => reachingRedis(work));
    last = turn.catch(() => undefined);
    return turn;
  }

  return {
    member,
    renew: () =>
      inTurn(async () => {
        const askedMs = performance.now();
        const answer = await scripts.ckvHoldLeases(membersKey, leasesKey, member, LEASE_MS, partitionCount);
        const [share = 0, ...held] = answer;
        const termOf = (partition: number) => {
          const sinceMs = (isHeld(partition) && terms.get(partition)?.sinceMs) || askedMs;
          return [partition, { sinceMs, untilMs: askedMs + LEASE_MS }] as const;
        };
        terms = new Map(held.map(termOf));
        return { held, surplus: Math.max(0, held.length - share) };
      }),
    isHeld,
    isHeldSince: (partition, sinceMs) =>
      isHeld(partition) && (terms.get(partition)?.sinceMs ?? Number.POSITIVE_INFINITY) <= sinceMs,
    remainingMs,
    release: (partitions) =>
      inTurn(async () => {
        for (const partition of partitions) terms.delete(partition);
        await scripts.ckvReleaseLeases(membersKey, leasesKey, member, 0, ...partitions);
      }),
    leave: () =>
      inTurn(async () => {
        const partitions = [...terms.keys()];
        terms.clear();
        await scripts.ckvReleaseLeases(membersKey, leasesKey, member, 1, ...partitions);
      }),
  };
}

function readLua(file: string): string {
  return readFileSync(new URL(`../../lua/${file}`, import.meta.url), 'utf8');
}
