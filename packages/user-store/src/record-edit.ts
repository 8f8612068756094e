import {
  EVENT_HASH_BYTES,
  encodeRecord,
  RECENT_EVENT_RING,
  RING_TOMBSTONE,
  type UserRecord,
} from '@collectivekv/domain';
import type { Append, PositionMatch, RecordShape } from './user-store.js';

/** A record after an append: what `append-positions-2.lua` does, in TypeScript. */
export function appendToRecord(
  record: UserRecord | undefined,
  { bundleId, strideBytes, maxPositions }: RecordShape,
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
    bundleId,
    strideBytes,
    lifetimeCount: (record?.lifetimeCount ?? 0) + appliedCount,
    lastEventMs: Math.max(record?.lastEventMs ?? 0, lastEventMs),
    recentEvents: lastBytes(Buffer.concat([ring, ...freshHashes]), RECENT_EVENT_RING * EVENT_HASH_BYTES),
    rows: lastBytes(Buffer.concat([record?.rows ?? new Uint8Array(0), ...freshRows]), maxPositions * strideBytes),
  });
  return { bytes, appliedCount, duplicateCount };
}

/**
 * A record without one position; undefined where the position is not in it. The deleted event stays in the ring as a
 * tombstone: it still counts as seen, and the ring's other entries still stand for the last rows.
 */
export function deleteFromRecord(record: UserRecord, match: PositionMatch): Uint8Array | undefined {
  const { rows, strideBytes, positionCount } = record;
  const index = match.kind === 'event' ? indexOfEvent(record, match.eventHash) : indexOfRow(record, match);
  if (index === undefined || index < 0) return undefined;
  const recentEvents = Uint8Array.from(record.recentEvents);
  const entry = liveEntries(recentEvents).at(-(positionCount - index));
  if (entry !== undefined) {
    const last = entry + EVENT_HASH_BYTES - 1;
    recentEvents[last] = (recentEvents[last] ?? 0) | RING_TOMBSTONE;
  }
  const kept = Buffer.concat([rows.subarray(0, index * strideBytes), rows.subarray((index + 1) * strideBytes)]);
  return encodeRecord({ ...record, recentEvents, rows: kept });
}

/** Offsets of the ring's entries that are no tombstones, oldest first: they stand for the last rows, one each. */
function liveEntries(ring: Uint8Array): number[] {
  const offsets: number[] = [];
  for (let at = 0; at < ring.length; at += EVENT_HASH_BYTES) {
    if (((ring[at + EVENT_HASH_BYTES - 1] ?? 0) & RING_TOMBSTONE) === 0) offsets.push(at);
  }
  return offsets;
}

function indexOfEvent(record: UserRecord, eventHash: Uint8Array): number | undefined {
  const live = liveEntries(record.recentEvents);
  const wanted = eventKey(eventHash, 0);
  const at = live.findIndex((offset) => eventKey(record.recentEvents, offset) === wanted);
  return at < 0 ? undefined : record.positionCount - (live.length - at);
}

/** The row at the least distance within the tolerance; the newest of several. */
function indexOfRow(
  { rows, strideBytes, positionCount }: UserRecord,
  { row, tolerance }: { row: Uint8Array; tolerance: Uint8Array },
): number | undefined {
  let best: number | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (let index = positionCount - 1; index >= 0; index--) {
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
