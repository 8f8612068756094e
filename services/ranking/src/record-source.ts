import { CkvError } from '@collectivekv/domain';
import { LRUCache } from 'lru-cache';
import type { ReadRecord } from './record-reads.js';

/** A record's bytes as read, and how old the copy is. */
export interface FetchedRecord {
  /** Undefined where the user has no record. */
  readonly bytes: Uint8Array | undefined;
  readonly ageMs: number;
}

/** Reads user records for ranking. */
export interface RecordSource {
  /**
   * The user's record under a bundle, from the near cache where a copy is at most `maxStalenessMs` old. Copies are made for
   * users who are asked for with some staleness.
   * @throws dependency_unavailable or deadline where the record cannot be read in time
   */
  get(query: { bundleId: string; userId: string; maxStalenessMs: number; deadlineMs: number }): Promise<FetchedRecord>;
}

/** Options of {@link createRecordSource}. */
export interface RecordSourceOptions {
  readonly read: ReadRecord;
  /** Bound of the near cache; 0 keeps none. */
  readonly nearCacheBytes: number;
  /** Longest wait for a record. */
  readonly timeoutMs: number;
}

interface Copy {
  readonly bytes: Uint8Array | undefined;
  readonly readAtMs: number;
}

const COPY_OVERHEAD_BYTES = 128;

/** Creates a source that keeps copies of what it read. */
export function createRecordSource({ read, nearCacheBytes, timeoutMs }: RecordSourceOptions): RecordSource {
  const nearCache =
    nearCacheBytes > 0
      ? new LRUCache<string, Copy>({
          maxSize: nearCacheBytes,
          sizeCalculation: (copy, key) => (copy.bytes?.length ?? 0) + key.length + COPY_OVERHEAD_BYTES,
        })
      : undefined;

  return {
    async get({ bundleId, userId, maxStalenessMs, deadlineMs }) {
      const key = copyKey(bundleId, userId);
      const copy = maxStalenessMs > 0 ? nearCache?.get(key) : undefined;
      const nowMs = Date.now();
      const ageMs = copy ? nowMs - copy.readAtMs : 0;
      if (copy && ageMs >= 0 && ageMs <= maxStalenessMs) return { bytes: copy.bytes, ageMs };
      const untilMs = Math.min(deadlineMs, nowMs + timeoutMs);
      const bytes = await inTime(read(bundleId, userId, untilMs), untilMs - nowMs);
      // Who never allows a copy should not pay for one; one that is there already is renewed.
      if (nearCache && (maxStalenessMs > 0 || nearCache.has(key))) {
        // A copy of its own: the received bytes are a view that would keep the whole message alive.
        nearCache.set(key, { bytes: bytes && new Uint8Array(bytes), readAtMs: nowMs });
      }
      return { bytes, ageMs: 0 };
    },
  };
}

/** Settles as `reading` does, or rejects with `deadline`: a read that others share may wait longer than one of them. */
function inTime<T>(reading: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new CkvError('deadline', 'the record did not come in time'));
    const timer = setTimeout(late, Math.max(0, timeoutMs));
    reading.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function copyKey(bundleId: string, userId: string): string {
  return `${bundleId}:${userId}`;
}
