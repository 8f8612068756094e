import { CkvError, toCkvError } from '@collectivekv/domain';
import { LRUCache } from 'lru-cache';
import { MAX_READS, type ReadRecords } from './read-records.js';

/** A record's bytes as read, and how old the copy is. */
export interface FetchedRecord {
  /** Undefined where the user has no record. */
  readonly bytes: Uint8Array | undefined;
  readonly ageMs: number;
}

/** Reads user records for ranking. */
export interface RecordSource {
  /**
   * The user's record under a bundle, from the near cache where a copy is at most `maxStalenessMs` old.
   * @throws dependency_unavailable or deadline where the record cannot be read in time
   */
  get(query: { bundleId: string; userId: string; maxStalenessMs: number; deadlineMs: number }): Promise<FetchedRecord>;
}

/** Options of {@link createRecordSource}. */
export interface RecordSourceOptions {
  readonly read: ReadRecords;
  /** Bound of the near cache; 0 keeps none. */
  readonly nearCacheBytes: number;
  /** Longest wait for a record. */
  readonly timeoutMs: number;
}

interface Waiter {
  readonly userId: string;
  readonly deadlineMs: number;
  /** A copy is wanted, for the next who allows one. */
  readonly keep: boolean;
  resolve(record: FetchedRecord): void;
  reject(error: CkvError): void;
}

interface Copy {
  readonly bytes: Uint8Array | undefined;
  readonly readAtMs: number;
}

const COPY_OVERHEAD_BYTES = 128;

/**
 * Creates a source that joins the reads of one turn of the event loop into one a bundle. Copies are kept of records that a
 * caller who allows a copy asked for, and renewed by whoever reads them.
 */
export function createRecordSource({ read, nearCacheBytes, timeoutMs }: RecordSourceOptions): RecordSource {
  const nearCache =
    nearCacheBytes > 0
      ? new LRUCache<string, Copy>({
          maxSize: nearCacheBytes,
          sizeCalculation: (copy, key) => (copy.bytes?.length ?? 0) + key.length + COPY_OVERHEAD_BYTES,
        })
      : undefined;
  const waiting = new Map<string, Waiter[]>();

  async function flush(bundleId: string): Promise<void> {
    const waiters = waiting.get(bundleId) ?? [];
    waiting.delete(bundleId);
    for (let from = 0; from < waiters.length; from += MAX_READS) {
      void readFor(bundleId, waiters.slice(from, from + MAX_READS));
    }
  }

  async function readFor(bundleId: string, waiters: readonly Waiter[]): Promise<void> {
    const readAtMs = Date.now();
    const deadlineMs = Math.max(...waiters.map((waiter) => waiter.deadlineMs));
    try {
      const userIds = waiters.map((waiter) => waiter.userId);
      const records = await read(bundleId, userIds, { deadlineMs });
      waiters.forEach((waiter, i) => {
        const bytes = records[i];
        const key = copyKey(bundleId, waiter.userId);
        // A copy of its own: the received bytes are a view that would keep the whole message alive.
        if (nearCache && (waiter.keep || nearCache.has(key))) nearCache.set(key, { bytes: bytes?.slice(), readAtMs });
        waiter.resolve({ bytes, ageMs: 0 });
      });
    } catch (thrown) {
      const error = toCkvError(thrown);
      for (const waiter of waiters) waiter.reject(error);
    }
  }

  return {
    get({ bundleId, userId, maxStalenessMs, deadlineMs }) {
      const copy = maxStalenessMs > 0 ? nearCache?.get(copyKey(bundleId, userId)) : undefined;
      const ageMs = copy ? Date.now() - copy.readAtMs : 0;
      if (copy && ageMs >= 0 && ageMs <= maxStalenessMs) return Promise.resolve({ bytes: copy.bytes, ageMs });
      return new Promise<FetchedRecord>((resolve, reject) => {
        const untilMs = Math.min(deadlineMs, Date.now() + timeoutMs);
        // The call that this read joins may wait longer, for others.
        const late = () => reject(new CkvError('deadline', 'the record did not come in time'));
        const timer = setTimeout(late, Math.max(0, untilMs - Date.now()));
        const waiter: Waiter = {
          userId,
          deadlineMs: untilMs,
          keep: maxStalenessMs > 0,
          resolve(record) {
            clearTimeout(timer);
            resolve(record);
          },
          reject(error) {
            clearTimeout(timer);
            reject(error);
          },
        };
        const queue = waiting.get(bundleId);
        if (queue) queue.push(waiter);
        else {
          waiting.set(bundleId, [waiter]);
          setImmediate(() => void flush(bundleId));
        }
      });
    },
  };
}

function copyKey(bundleId: string, userId: string): string {
  return `${bundleId}:${userId}`;
}
