import { setTimeout as sleep } from 'node:timers/promises';
import { toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import type { PartitionQueue } from '@collectivekv/update-queue';
import type { Fence } from './fence.js';
import type { PartitionLeases } from './partition-leases.js';

/** A partition that is open for consuming, and the fence of the term it was opened under. */
export interface HeldPartition {
  readonly queue: PartitionQueue;
  readonly fence: Fence;
}

/** The partitions that this process consumes. Heartbeats acquire and lose them. */
export interface HeldPartitions {
  /** True if {@link settle} has a partition to open, to close or to give back. */
  isDue(): boolean;
  /**
   * Opens partitions that were acquired and closes those that were lost. Call it with no batch in hand.
   * @returns the partitions to consume
   */
  settle(): Promise<readonly HeldPartition[]>;
  /** Closes all partitions. {@link settle} opens them again and puts their taken jobs back, in order. */
  closeAll(): Promise<void>;
  /** Ends the heartbeats and gives every partition back. */
  stop(): Promise<void>;
}

/** Parts of {@link holdPartitions}. */
export interface HoldParts {
  readonly leases: Pick<PartitionLeases, 'renew' | 'release' | 'leave'>;
  readonly openPartition: (fence: Fence) => PartitionQueue;
  /** Awaited before partitions are given back: this process's late calls must not meet the next holder's. */
  readonly latePassed: () => Promise<void>;
  /** Receives the number of held partitions after each heartbeat. */
  readonly onHeld: (count: number) => void;
  readonly log: Logger;
}

const HEARTBEAT_MS = 1_000;
const RETRY_MS = 100;

/** Starts the heartbeats. */
export function holdPartitions({ leases, openPartition, latePassed, onHeld, log }: HoldParts): HeldPartitions {
  const open = new Map<number, HeldPartition>();
  const stopping = new AbortController();
  let held: readonly Fence[] = [];
  let surplus = 0;

  async function beat(): Promise<void> {
    while (!stopping.signal.aborted) {
      let pauseMs = HEARTBEAT_MS;
      try {
        ({ held, surplus } = await leases.renew());
        onHeld(held.length);
      } catch (error) {
        log.debug({ problem: toCkvError(error).message }, 'the leases are not renewed');
        pauseMs = RETRY_MS;
      }
      await sleep(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  async function close(partition: number): Promise<void> {
    const one = open.get(partition);
    open.delete(partition);
    await one?.queue
      .close()
      .catch((error) => log.warn({ partition, problem: toCkvError(error).message }, 'the partition is not closed'));
  }

  async function closeAll(): Promise<void> {
    for (const partition of [...open.keys()]) await close(partition);
  }

  /** Gives back the partitions beyond the fair share, so that a member that joined can take them. */
  async function releaseSurplus(): Promise<void> {
    const released = held
      .filter((fence) => fence.isHeld())
      .slice(0, surplus)
      .map(({ partition }) => partition);
    try {
      for (const partition of released) await close(partition);
      if (released.length > 0) await latePassed();
      if (released.length > 0) await leases.release(released);
    } finally {
      // The next heartbeat counts afresh. A heartbeat during the closing counted the partitions released here, and
      // after a failed release their fences are over: without this line, other partitions would be released in their
      // place.
      surplus = 0;
    }
  }

  /** Returns open partitions whose term is over. Another updater may have worked on them, even if they came back. */
  const lost = () => [...open].filter(([, { fence }]) => !fence.isHeld()).map(([partition]) => partition);
  /** Returns the fences of held partitions that are not open. */
  const acquired = () => held.filter((fence) => !open.has(fence.partition) && fence.isHeld());

  const beating = beat();

  return {
    isDue: () => surplus > 0 || lost().length > 0 || acquired().length > 0,
    async settle() {
      for (const partition of lost()) await close(partition);
      await releaseSurplus();
      for (const fence of acquired()) {
        const queue = openPartition(fence);
        open.set(fence.partition, { queue, fence });
        await queue.recover().catch(async (error) => {
          await close(fence.partition);
          throw error;
        });
      }
      return [...open.values()];
    },
    closeAll,
    async stop() {
      stopping.abort();
      await beating;
      await closeAll();
      await latePassed();
      await leases.leave().catch((err) => log.warn({ err }, 'the leases stay until they end'));
    },
  };
}
