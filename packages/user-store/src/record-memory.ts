import { EVENT_HASH_BYTES, RECENT_EVENT_RING, RECORD_FIXED_BYTES } from '@collectivekv/domain';
import { type KeyMemory, keyMemory } from '@collectivekv/redis-memory';
import { createRecordKeys } from './record-keys.js';

/** What decides the bytes of a record. */
export interface RecordSizes {
  readonly keyPrefix: string;
  /** Length of the user's id in the key, bytes. */
  readonly userIdBytes: number;
  readonly strideBytes: number;
  readonly positionCount: number;
  /** True on a cluster. */
  readonly cluster?: boolean;
}

/** Bytes of a record. */
export interface RecordMemory extends KeyMemory {
  /** The record itself: header, ring and rows. */
  readonly valueBytes: number;
}

/** Returns the bytes that a user's record takes in Redis, with its key. */
export function recordMemory({ keyPrefix, userIdBytes, cluster, ...rows }: RecordSizes): RecordMemory {
  const keyLength = createRecordKeys(keyPrefix).record('u'.repeat(userIdBytes), '0'.repeat(16)).length;
  const valueBytes = recordBytes(rows);
  const value = { kind: 'string', length: valueBytes } as const;
  return { valueBytes, ...keyMemory({ keyLength, value, expires: true, cluster: cluster ?? false }) };
}

/** Returns the bytes of a record without deletions: header, ring and rows. */
export function recordBytes({
  strideBytes,
  positionCount,
}: Pick<RecordSizes, 'strideBytes' | 'positionCount'>): number {
  const ringBytes = Math.min(positionCount, RECENT_EVENT_RING) * EVENT_HASH_BYTES;
  return RECORD_FIXED_BYTES + ringBytes + positionCount * strideBytes;
}
