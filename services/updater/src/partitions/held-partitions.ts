import { setTimeout as sleep } from 'node:timers/promises';
import { toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import type { PartitionQueue } from '@collectivekv/update-queue';
import type { PartitionLeases } from './partition-leases.js';

/** The partitions that this process consumes, as heartbeats give and take them. */
export interface HeldPartitions {
  /** True where {@link settle} has something to open, to close or to give back. */
  isDue(): boolean;
  /**
   * Opens partitions that came and closes those that went; to be called with no batch in hand.
   * @returns those to consume
   */
  settle(): Promise<readonly PartitionQueue[]>;
  /** Closes all: {@link settle} opens them again, and what was taken from them is put back, in order. */
  closeAll(): Promise<void>;
  /** Ends the heartbeats and gives every partition back. */
  stop(): Promise<void>;
}

const HEARTBEAT_MS = 1_000;
const RETRY_MS = 100;

/** Starts the heartbeats. */
export function holdPartitions(parts: {
  readonly leases: PartitionLeases;
  readonly openPartition: (partition: number) => PartitionQueue;
  readonly onHeld: (count: number) => void;
  readonly log: Logger;
}): HeldPartitions {
  const { leases, log } = parts;
  const open = new Map<number, { readonly queue: PartitionQueue; readonly openedMs: number }>();
  const stopping = new AbortController();
  let held: readonly number[] = [];
  let surplus = 0;

  async function beat(): Promise<void> {
    while (!stopping.signal.aborted) {
      let pauseMs = HEARTBEAT_MS;
      try {
        ({ held, surplus } = await leases.renew());
        parts.onHeld(held.length);
      } catch (error) {
        log.debug({ problem: (error as Error).message }, 'the leases are not renewed');
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
      .catch((error) => log.warn({ partition, problem: toCkvError(error).message }, 'not closed'));
  }

  async function closeAll(): Promise<void> {
    for (const partition of [...open.keys()]) await close(partition);
  }

  /** Gives back what is beyond the fair share, for a member that came. */
  async function releaseSurplus(): Promise<void> {
    const released = held.filter((partition) => leases.isHeld(partition)).slice(0, surplus);
    surplus = 0;
    if (released.length === 0) return;
    for (const partition of released) await close(partition);
    await leases.release(released);
  }

  /** Open partitions that went, if only for a while: another updater may have worked on them. */
  function gone(): number[] {
    const all = [...open].filter(([partition, { openedMs }]) => !leases.isHeldSince(partition, openedMs));
    return all.map(([partition]) => partition);
  }

  /** Partitions that came. */
  function come(): number[] {
    return held.filter((partition) => !open.has(partition) && leases.isHeld(partition));
  }

  const beating = beat();

  return {
    isDue: () => surplus > 0 || gone().length > 0 || come().length > 0,
    async settle() {
      for (const partition of gone()) await close(partition);
      await releaseSurplus();
      for (const partition of come()) {
        const openedMs = performance.now();
        const queue = parts.openPartition(partition);
        open.set(partition, { queue, openedMs });
        await queue.recover().catch(async (error) => {
          await close(partition);
          throw error;
        });
      }
      return [...open.values()].map(({ queue }) => queue);
    },
    closeAll,
    async stop() {
      stopping.abort();
      await beating;
      await closeAll();
      await leases.leave().catch((err) => log.warn({ err }, 'the leases stay until they run out'));
    },
  };
}
