import { CLOCK_MARGIN_MS, type PartitionTerm } from '@collectivekv/update-queue';

/**
 * What a write carries so that Redis can refuse it after the lease is lost: the term of the partition's lease, and the
 * end of the lease. The queue's scripts check the term; the scripts that write records check the end. A batch carries
 * the fences of the partitions that its jobs were taken from.
 */
export interface Fence extends PartitionTerm {
  /**
   * Returns the end of the fence: the last Unix ms, by Redis's clock, at which a record is written
   * with this fence. It is the end of the lease less {@link CLOCK_MARGIN_MS}. Every renewal moves it on: read it
   * just before the call.
   */
  validUntilMs(): number;
  /**
   * Returns the time by this process's monotonic clock at which the fence has ended for sure, on every Redis: a call
   * that carries it is applied before, or never. Every renewal moves it on.
   */
  endedByMs(): number;
  /** True while this process may rely on its lease, by its own monotonic clock. Only stops work early. */
  isHeld(): boolean;
}

/** A fence, as the holder of the leases sees it. */
export interface RenewableFence extends Fence {
  /**
   * @param endsMs the end of the lease, Unix ms by Redis's clock
   * @param heldUntilMs the time until which the process may rely on the lease, by its monotonic clock
   * @param endedByMs the time at which the lease is over for sure, by its monotonic clock
   */
  renew(until: { readonly endsMs: number; readonly heldUntilMs: number; readonly endedByMs: number }): void;
  /** Ends the fence for this process: {@link Fence.isHeld} is false from now on. */
  end(): void;
}

/** Creates the fence of a term. Before its first renewal `isHeld` is false, and every write to a record is refused. */
export function createFence({ partition, member, term }: PartitionTerm): RenewableFence {
  let endsMs = 0;
  let heldUntilMs = Number.NEGATIVE_INFINITY;
  let endedByMs = Number.NEGATIVE_INFINITY;
  return {
    partition,
    member,
    term,
    validUntilMs: () => endsMs - CLOCK_MARGIN_MS,
    endedByMs: () => endedByMs,
    isHeld: () => performance.now() < heldUntilMs,
    renew(until) {
      ({ endsMs, heldUntilMs, endedByMs } = until);
    },
    end() {
      heldUntilMs = Number.NEGATIVE_INFINITY;
    },
  };
}
