import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, type Interaction, RECENT_EVENT_RING } from '@collectivekv/domain';

/**
 * Calls that failed here and may still reach Redis. Redis applies such a call until the end of its fence. The record
 * recognises its events while the ring holds them. So until then, no more events of a user may follow than fit the ring
 * together with those of the call.
 */
export interface LateCalls {
  /**
   * Waits until these interactions may be appended. Returns at once if no call of these users is late, or if the ring
   * can hold the events of both.
   * @throws draining if the signal aborts first: the interactions must not be appended yet
   */
  beforeAppend(byUser: ReadonlyMap<string, readonly Interaction[]>, signal: AbortSignal): Promise<void>;
  /**
   * Notes a failed append.
   * @param untilMs the end of its fence, by this process's monotonic clock
   */
  appendFailed(byUser: ReadonlyMap<string, readonly Interaction[]>, untilMs: number): void;
  /**
   * Notes a failed removal of an interaction or of a user. No event may follow: the tombstone may be the next entry to
   * leave the ring, and a late deletion would delete the event.
   */
  removalFailed(userId: string, untilMs: number): void;
  /**
   * Waits until no call of this user can be late: a late append would bring a deleted user back.
   * @throws draining if the signal aborts first: the user must not be deleted yet
   */
  beforeDeletion(userId: string, signal: AbortSignal): Promise<void>;
  /** True if a call may be late now. */
  any(): boolean;
  /** Waits until no call can be late any more. Without this, the next holder of a partition could be too early. */
  passed(): Promise<void>;
}

interface Late {
  untilMs: number;
  /** Ring entries of the user since the call failed, those of the call included. */
  entryCount: number;
}

/** Creates an empty list of late calls. It belongs to the process: partitions may be opened again in between. */
export function createLateCalls(): LateCalls {
  const lateByUser = new Map<string, Late>();

  function note(userId: string, untilMs: number, entryCount: number): void {
    const late = lateByUser.get(userId);
    if (late) late.untilMs = Math.max(late.untilMs, untilMs);
    else lateByUser.set(userId, { untilMs, entryCount });
  }

  function dropPassed(): void {
    for (const [userId, { untilMs }] of lateByUser) if (performance.now() >= untilMs) lateByUser.delete(userId);
  }

  async function waitUntil(untilMs: number, signal?: AbortSignal): Promise<void> {
    // Again, because Node's timers may fire up to 1 ms early.
    for (let leftMs = untilMs - performance.now(); leftMs > 0; leftMs = untilMs - performance.now()) {
      const pauseMs = Math.ceil(leftMs);
      await sleep(pauseMs, undefined, { ...(signal ? { signal } : {}) }).catch((cause) => {
        throw new CkvError('draining', 'the service shuts down while an append that failed may still arrive', {
          cause,
        });
      });
    }
    dropPassed();
  }

  return {
    async beforeAppend(byUser, signal) {
      if (lateByUser.size === 0) return;
      dropPassed();
      const crowded = [...byUser].flatMap(([userId, { length }]) => {
        const late = lateByUser.get(userId);
        return late && late.entryCount + length > RECENT_EVENT_RING ? [late.untilMs] : [];
      });
      if (crowded.length > 0) await waitUntil(latestOf(crowded), signal);
      for (const [userId, { length }] of byUser) {
        const late = lateByUser.get(userId);
        if (late) late.entryCount += length;
      }
    },
    appendFailed(byUser, untilMs) {
      for (const [userId, { length }] of byUser) note(userId, untilMs, length);
    },
    removalFailed(userId, untilMs) {
      note(userId, untilMs, RECENT_EVENT_RING);
      const late = lateByUser.get(userId);
      if (late) late.entryCount = RECENT_EVENT_RING;
    },
    async beforeDeletion(userId, signal) {
      const late = lateByUser.get(userId);
      if (late) await waitUntil(late.untilMs, signal);
    },
    any() {
      dropPassed();
      return lateByUser.size > 0;
    },
    async passed() {
      await waitUntil(latestOf([...lateByUser.values()].map(({ untilMs }) => untilMs)));
    },
  };
}

/** Returns the latest time. They may be more than the arguments that a call can have. */
function latestOf(timesMs: readonly number[]): number {
  return timesMs.reduce((latest, timeMs) => Math.max(latest, timeMs), Number.NEGATIVE_INFINITY);
}
