import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { LeaseTable } from '@collectivekv/update-queue';
import { createFence, type Fence, type RenewableFence } from './fence.js';

/** The partitions that this process may consume. */
export interface PartitionLeases {
  /** Unique to this process. */
  readonly member: string;
  /**
   * Renews the held leases and takes free partitions, up to a fair share.
   * @returns the fences of the partitions held now, and how many of them exceed the share and should be released
   */
  renew(): Promise<{ readonly held: readonly Fence[]; readonly surplus: number }>;
  /** Ends the fences of these partitions and gives the partitions back. */
  release(partitions: readonly number[]): Promise<void>;
  /**
   * Ends all fences, and keeps the leases: the next renewal begins new fences. Work under the old ones ends, and its
   * jobs are taken again. For a Redis that may have lost its latest writes: without the earlier interactions of the
   * same jobs, later ones must not be appended.
   */
  endFences(): void;
  /** Releases all partitions; the process no longer counts for the fair shares. */
  leave(): Promise<void>;
}

/** How long a lease lasts without renewal, and so how long a dead updater's partitions wait. */
export const LEASE_MS = 5_000;

/** Creates the leases of this process. */
export function createPartitionLeases(table: LeaseTable): PartitionLeases {
  const member = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`.replace(/\s/g, '_');
  let fences = new Map<number, RenewableFence>();
  /** The end of the leases by the last heartbeat. */
  let leasesEndMs = 0;

  function end(partitions: readonly number[]): void {
    for (const partition of partitions) {
      fences.get(partition)?.end();
      fences.delete(partition);
    }
  }

  // One call at a time. Otherwise the answer to an earlier renewal could bring back a partition that was released
  // later.
  let last: Promise<unknown> = Promise.resolve();
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  }

  return {
    member,
    renew: () =>
      inTurn(async () => {
        // The lease lasts at least this long after the call was sent: Redis starts it later.
        const heldUntilMs = performance.now() + LEASE_MS;
        const { terms, endsMs, share } = await table.hold(member, LEASE_MS);
        leasesEndMs = endsMs;
        // It began before the answer came. The margin of the fence covers a slower clock of the records' Redis.
        const endedByMs = performance.now() + LEASE_MS;
        const held = terms.map((term) => {
          const known = fences.get(term.partition);
          const fence = known?.term === term.term ? known : createFence(term);
          fence.renew({ endsMs, heldUntilMs, endedByMs });
          return fence;
        });
        for (const fence of fences.values()) if (!held.includes(fence)) fence.end();
        fences = new Map(held.map((fence) => [fence.partition, fence]));
        return { held, surplus: Math.max(0, held.length - share) };
      }),
    release: (partitions) =>
      inTurn(() => {
        end(partitions);
        return table.release(member, partitions, leasesEndMs);
      }),
    endFences: () => end([...fences.keys()]),
    leave: () =>
      inTurn(() => {
        const partitions = [...fences.keys()];
        end(partitions);
        return table.leave(member, partitions);
      }),
  };
}
