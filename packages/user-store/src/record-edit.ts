import {
  decodeRecord,
  EVENT_HASH_BYTES,
  encodeRecord,
  LONGEST_RING,
  RECENT_EVENT_RING,
  RING_TOMBSTONE,
  strideOf,
  toCkvError,
  type UserRecord,
} from '@collectivekv/domain';
import type { Append, PositionDeletion, PositionMatch, RecordShape } from './user-store.js';

/** Returns a record after an append. Does the same as `append-positions-2n.lua`, in TypeScript. */
export function appendToRecord(
  record: UserRecord | undefined,
  { encodingId, strideBytes, maxPositions }: RecordShape,
  { eventHashes, rows, lastEventMs }: Append,
): { bytes: Uint8Array | undefined; appliedCount: number; duplicateCount: number } {
  const ring = record?.recentEvents ?? new Uint8Array(0);
  const seen = new Set<string>();
  for (let at = 0; at < ring.length; at += EVENT_HASH_BYTES) seen.add(eventKey(ring, at));
  const freshHashes: Uint8Array[] = [];
  const freshRows: Uint8Array[] = [];
  const rowCount = rows.length / strideBytes;
  for (let i = 0; i < rowCount; i++) {
    const key = eventKey(eventHashes, i * EVENT_HASH_BYTES);
    if (seen.has(key)) continue;
    seen.add(key);
    freshHashes.push(eventHashes.subarray(i * EVENT_HASH_BYTES, (i + 1) * EVENT_HASH_BYTES));
    freshRows.push(rows.subarray(i * strideBytes, (i + 1) * strideBytes));
  }
  const appliedCount = freshRows.length;
  const duplicateCount = rowCount - appliedCount;
  if (appliedCount === 0) return { bytes: undefined, appliedCount, duplicateCount };
  const bytes = encodeRecord({
    encodingId,
    strideBytes,
    lifetimeCount: (record?.lifetimeCount ?? 0) + appliedCount,
    lastEventMs: Math.max(record?.lastEventMs ?? 0, lastEventMs),
    recentEvents: lastBytes(Buffer.concat([ring, ...freshHashes]), RECENT_EVENT_RING * EVENT_HASH_BYTES),
    rows: lastBytes(Buffer.concat([record?.rows ?? new Uint8Array(0), ...freshRows]), maxPositions * strideBytes),
  });
  return { bytes, appliedCount, duplicateCount };
}

/** A record's bytes without one position. */
export interface EditedRecord {
  /** Undefined if no position matches, or if it was deleted before. Empty if the record is to be deleted. */
  readonly bytes: Uint8Array | undefined;
  readonly outcome: PositionDeletion;
}

/**
 * Returns a stored record without one position. A record that cannot be read may hold the position, and nobody can use
 * it: nothing is left of it.
 * @throws encoding_mismatch if the record is of another encoding
 */
export function deleteFromBytes(bytes: Uint8Array, encodingId: string, match: PositionMatch): EditedRecord {
  try {
    return deleteFromRecord(decodeRecord(bytes, { encodingId, strideBytes: strideOf(bytes) }), match);
  } catch (error) {
    if (toCkvError(error).reason !== 'record_corrupt') throw error;
    const outcome = { deleted: false, positionCount: 0, eventKnown: false, laterCount: 0, unreadable: true };
    return { bytes: new Uint8Array(0), outcome };
  }
}

/**
 * Returns a record without one position. The event stays in the ring, or enters it, as a tombstone: it still counts as
 * seen, and a repeated deletion finds it. The ring grows by a new tombstone until the next append, so that it forgets no
 * event for it. Each live entry still belongs to one of the last rows, in order.
 */
export function deleteFromRecord(record: UserRecord, { eventHash, row, tolerance }: PositionMatch): EditedRecord {
  const { rows, strideBytes, positionCount, recentEvents } = record;
  const entries = ringEntries(recentEvents);
  const live = entries.filter((at) => isLive(recentEvents, at)); // each belongs to one of the last rows, in order
  const wanted = eventKey(eventHash, 0);
  const known = entries.find((at) => eventKey(recentEvents, at) === wanted);
  const eventKnown = known !== undefined;
  const unchanged = {
    bytes: undefined,
    outcome: { deleted: false, positionCount, eventKnown, laterCount: 0, unreadable: false },
  };
  if (eventKnown && !isLive(recentEvents, known)) return unchanged;
  const index = eventKnown
    ? positionCount - (live.length - live.indexOf(known))
    : indexOfRow(record, positionCount - live.length, row, tolerance); // the last rows are of other events
  if (index === undefined || index < 0) return unchanged;

  const events = eventKnown ? Uint8Array.from(recentEvents) : Buffer.concat([recentEvents, eventHash]);
  bury(events, known ?? recentEvents.length);
  const bytes = encodeRecord({
    ...record,
    recentEvents: lastBytes(events, LONGEST_RING * EVENT_HASH_BYTES),
    rows: Buffer.concat([rows.subarray(0, index * strideBytes), rows.subarray((index + 1) * strideBytes)]),
  });
  const outcome = {
    deleted: true,
    positionCount: positionCount - 1,
    eventKnown,
    laterCount: positionCount - 1 - index,
    unreadable: false,
  };
  return { bytes, outcome };
}

/** Returns the offsets of the ring's entries, oldest first. */
function ringEntries(ring: Uint8Array): number[] {
  return Array.from({ length: ring.length / EVENT_HASH_BYTES }, (_, i) => i * EVENT_HASH_BYTES);
}

function isLive(ring: Uint8Array, at: number): boolean {
  return ((ring[at + EVENT_HASH_BYTES - 1] ?? 0) & RING_TOMBSTONE) === 0;
}

function bury(ring: Uint8Array, at: number): void {
  const last = at + EVENT_HASH_BYTES - 1;
  ring[last] = (ring[last] ?? 0) | RING_TOMBSTONE;
}

/** Returns the index of the nearest of the first rows within the tolerance, the newest of several equally near. */
function indexOfRow(
  { rows, strideBytes }: UserRecord,
  rowCount: number,
  row: Uint8Array,
  tolerance: Uint8Array,
): number | undefined {
  if (row.length !== strideBytes) return undefined;
  let best: number | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (let index = rowCount - 1; index >= 0; index--) {
    let distance = 0;
    for (let i = 0; i < strideBytes && distance < bestDistance; i++) {
      const difference = Math.abs((rows[index * strideBytes + i] ?? 0) - (row[i] ?? 0));
      const step = Math.min(difference, 256 - difference);
      distance = step > (tolerance[i] ?? 0) ? Number.POSITIVE_INFINITY : distance + step;
    }
    if (distance >= bestDistance) continue;
    best = index;
    bestDistance = distance;
    if (distance === 0) break;
  }
  return best;
}

function eventKey(hashes: Uint8Array, at: number): string {
  const hash = Buffer.from(hashes.subarray(at, at + EVENT_HASH_BYTES));
  hash[EVENT_HASH_BYTES - 1] = (hash[EVENT_HASH_BYTES - 1] ?? 0) & ~RING_TOMBSTONE;
  return hash.toString('hex');
}

function lastBytes(bytes: Uint8Array, count: number): Uint8Array {
  return bytes.subarray(Math.max(0, bytes.length - count));
}
