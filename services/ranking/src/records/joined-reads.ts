import { CkvError } from '@collectivekv/domain';
import type { ReadRecord } from './read-record.js';

/** Reads the records of several users of an encoding. The records are aligned with `userIds`; undefined for none. */
export type ReadRecords = (
  encodingId: string,
  userIds: readonly string[],
  deadlineMs: number,
) => Promise<readonly (Uint8Array | undefined)[]>;

interface Waiter {
  readonly userId: string;
  readonly deadlineMs: number;
  resolve(bytes: Uint8Array | undefined): void;
  reject(error: unknown): void;
}

/** Most records of one call. */
const MAX_READS = 512;

/**
 * Joins the reads of one turn of the event loop into calls of at most {@link MAX_READS} users, each of one encoding. A
 * call has the latest deadline of its reads.
 */
export function joinReads(read: ReadRecords): ReadRecord {
  const waiting = new Map<string, Waiter[]>();

  function flush(encodingId: string): void {
    const waiters = waiting.get(encodingId) ?? [];
    waiting.delete(encodingId);
    for (let from = 0; from < waiters.length; from += MAX_READS) {
      void readFor(encodingId, waiters.slice(from, from + MAX_READS));
    }
  }

  async function readFor(encodingId: string, waiters: readonly Waiter[]): Promise<void> {
    try {
      const deadlineMs = Math.max(...waiters.map((waiter) => waiter.deadlineMs));
      const userIds = waiters.map(({ userId }) => userId);
      const records = await read(encodingId, userIds, deadlineMs);
      if (records.length !== waiters.length) {
        throw new CkvError('bug', `${waiters.length} records were asked for, ${records.length} were answered`);
      }
      waiters.forEach((waiter, i) => {
        waiter.resolve(records[i]);
      });
    } catch (thrown) {
      for (const waiter of waiters) waiter.reject(thrown);
    }
  }

  return (encodingId, userId, deadlineMs) =>
    new Promise((resolve, reject) => {
      const waiter: Waiter = { userId, deadlineMs, resolve, reject };
      const queue = waiting.get(encodingId);
      if (queue) queue.push(waiter);
      else {
        waiting.set(encodingId, [waiter]);
        setImmediate(() => flush(encodingId));
      }
    });
}
