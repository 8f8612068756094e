import { CkvError, steadyNowMs } from '@collectivekv/domain';
import { LRUCache } from 'lru-cache';
import type { ReadRecord } from './read-record.js';

/** A record's bytes, and how old they are. */
export interface FetchedRecord {
  /** Undefined if the user has no record. */
  readonly bytes: Uint8Array | undefined;
  /** Time since the read began, ms; 0 if the record was read for this call. */
  readonly ageMs: number;
}

/** Reads user records for ranking. */
export interface RecordSource {
  /**
   * Returns a user's record of an encoding. If the near cache has a copy that is at most `maxStalenessMs` old, and not
   * older than the near cache allows, returns the copy. Copies are kept of users whose record is asked for with
   * `maxStalenessMs` above 0.
   * @throws dependency_unavailable, or deadline if the record does not come in time
   */
  get(query: {
    encodingId: string;
    userId: string;
    maxStalenessMs: number;
    deadlineMs: number;
  }): Promise<FetchedRecord>;
  /** Drops the copies of a user's records, of every encoding. */
  dropUser(userId: string): void;
  /** Drops all copies. */
  dropAll(): void;
  /** Drops all copies, for good. */
  close(): void;
}

/** Options of {@link createRecordSource}. */
export interface RecordSourceOptions {
  readonly read: ReadRecord;
  /** Bound of the near cache; 0 keeps no copies. */
  readonly nearCacheBytes: number;
  /**
   * Oldest copy that is used. Nobody may hear that its user was deleted: it is used for this time at most, and has left
   * the memory after twice this time.
   */
  readonly nearCacheMaxAgeMs: number;
  /** Longest wait for a record, ms. */
  readonly timeoutMs: number;
}

interface Copy {
  readonly bytes: Uint8Array | undefined;
  /** When the read began, Unix ms: the record may have changed since. */
  readonly readAtMs: number;
}

/** Estimate of the memory of a cache entry besides its key and bytes. */
const COPY_OVERHEAD_BYTES = 128;

/** Creates a source with a near cache. */
export function createRecordSource({
  read,
  nearCacheBytes,
  nearCacheMaxAgeMs,
  timeoutMs,
}: RecordSourceOptions): RecordSource {
  const nearCache =
    nearCacheBytes > 0
      ? new LRUCache<string, Copy>({
          maxSize: nearCacheBytes,
          sizeCalculation: (copy, key) => (copy.bytes?.length ?? 0) + key.length + COPY_OVERHEAD_BYTES,
        })
      : undefined;

  const dropping = nearCache && setInterval(() => dropOld(nearCache, nearCacheMaxAgeMs), nearCacheMaxAgeMs);
  dropping?.unref();
  /** Encodings that copies were kept of. */
  const encodingIds = new Set<string>();
  /** Counts the drops: a read that began before a drop may have read what was dropped. */
  let dropCount = 0;

  return {
    async get({ encodingId, userId, maxStalenessMs, deadlineMs }) {
      const key = copyKey(encodingId, userId);
      const copy = maxStalenessMs > 0 ? nearCache?.get(key) : undefined;
      const nowMs = steadyNowMs();
      const ageMs = copy ? nowMs - copy.readAtMs : 0;
      if (copy && ageMs <= Math.min(maxStalenessMs, nearCacheMaxAgeMs)) return { bytes: copy.bytes, ageMs };
      const untilMs = Math.min(deadlineMs, nowMs + timeoutMs);
      const dropsBefore = dropCount;
      const bytes = await inTime(read(encodingId, userId, untilMs), untilMs - nowMs);
      // Nobody pays for a copy unless a caller allows one. A copy that is kept already is renewed.
      if (nearCache && dropCount === dropsBefore && (maxStalenessMs > 0 || nearCache.has(key))) {
        // The received bytes are a view of a message; keeping them would keep the whole message in memory.
        encodingIds.add(encodingId);
        nearCache.set(key, { bytes: bytes && new Uint8Array(bytes), readAtMs: nowMs });
      }
      return { bytes, ageMs: 0 };
    },
    dropUser(userId) {
      dropCount++;
      for (const encodingId of encodingIds) nearCache?.delete(copyKey(encodingId, userId));
    },
    dropAll() {
      dropCount++;
      nearCache?.clear();
    },
    close() {
      clearInterval(dropping);
      nearCache?.clear();
    },
  };
}

/**
 * Settles as `reading` does, or rejects with `deadline` after `timeoutMs`: a shared read may wait longer than one
 * caller.
 */
function inTime<T>(reading: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new CkvError('deadline', 'the record was not read in time'));
    const timer = setTimeout(late, Math.max(0, timeoutMs));
    reading.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function copyKey(encodingId: string, userId: string): string {
  return `${encodingId}:${userId}`;
}

function dropOld(copies: LRUCache<string, Copy>, maxAgeMs: number): void {
  const oldestMs = steadyNowMs() - maxAgeMs;
  for (const [key, { readAtMs }] of copies.entries()) if (readAtMs < oldestMs) copies.delete(key);
}
