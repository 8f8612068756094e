import { CkvError } from '@collectivekv/domain';
import type { ReadRecord } from './record-reads.js';

/** Reads several users' records of a bundle, aligned with `userIds`. */
type ReadRecords = (
  bundleId: string,
  userIds: readonly string[],
  deadlineMs: number,
) => Promise<readonly (Uint8Array | undefined)[]>;

interface Waiter {
  readonly userId: string;
  readonly deadlineMs: number;
  resolve(bytes: Uint8Array | undefined): void;
  reject(error: unknown): void;
}

const MAX_READS = 512;

/** Joins the reads of one turn of the event loop into one a bundle, which waits as long as the most patient of them. */
export function joinReads(read: ReadRecords): ReadRecord {
  const waiting = new Map<string, Waiter[]>();

  function flush(bundleId: string): void {
    const waiters = waiting.get(bundleId) ?? [];
    waiting.delete(bundleId);
    for (let from = 0; from < waiters.length; from += MAX_READS) {
      void readFor(bundleId, waiters.slice(from, from + MAX_READS));
    }
  }

  async function readFor(bundleId: string, waiters: readonly Waiter[]): Promise<void> {
    try {
      const deadlineMs = Math.max(...waiters.map((waiter) => waiter.deadlineMs));
      const userIds = waiters.map(({ userId }) => userId);
      const records = await read(bundleId, userIds, deadlineMs);
      if (records.length !== waiters.length) throw new CkvError('bug', 'another number of records was answered');
      waiters.forEach((waiter, i) => {
        waiter.resolve(records[i]);
      });
    } catch (thrown) {
      for (const waiter of waiters) waiter.reject(thrown);
    }
  }

  return (bundleId, userId, deadlineMs) =>
    new Promise((resolve, reject) => {
      const waiter: Waiter = { userId, deadlineMs, resolve, reject };
      const queue = waiting.get(bundleId);
      if (queue) queue.push(waiter);
      else {
        waiting.set(bundleId, [waiter]);
        setImmediate(() => flush(bundleId));
      }
    });
}
