import type { PartitionTerm } from '@collectivekv/update-queue';

/**
 * The right to work on one partition during one term of its lease. A batch carries the fences it was taken under. Redis
 * enforces them: the queue's scripts check the term, the records' append script checks the time.
 */
export interface Fence extends PartitionTerm {
  /**
   * Returns the last Unix ms, by Redis's clock, at which an append under this fence may be applied: the end of the lease
   * less {@link CLOCK_MARGIN_MS}. Every renewal moves it on, so read it just before the call.
   */
  validUntilMs(): number;
  /** True while this process may rely on its lease, by its own monotonic clock. Only stops work early. */
  isHeld(): boolean;
}

/** A fence, as the holder of the leases sees it. */
export interface RenewableFence extends Fence {
  /**
   * @param endsMs the end of the lease, Unix ms by Redis's clock
   * @param heldUntilMs the time until which the process may rely on the lease, by its monotonic clock
   */
  renew(until: { readonly endsMs: number; readonly heldUntilMs: number }): void;
  /** Ends the fence for this process: {@link Fence.isHeld} is false from now on. */
  end(): void;
}

/**
 * Most that the clocks of the queue's Redis and of the records' Redis may differ, ms. The lease ends by the one, and an
 * append is refused by the other.
 */
export const CLOCK_MARGIN_MS = 500;

/** Creates the fence of a term; it holds nothing before its first renewal. */
export function createFence({ partition, member, term }: PartitionTerm): RenewableFence {
  let endsMs = 0;
  let heldUntilMs = Number.NEGATIVE_INFINITY;
  return {
    partition,
    member,
    term,
    validUntilMs: () => endsMs - CLOCK_MARGIN_MS,
    isHeld: () => performance.now() < heldUntilMs,
    renew(until) {
      ({ endsMs, heldUntilMs } = until);
    },
    end() {
      heldUntilMs = Number.NEGATIVE_INFINITY;
    },
  };
}
