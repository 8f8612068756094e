// The ring of a record: the hashes of its last 14 events, and of older ones that were deleted since the last append. It
// finds repeated events.
import { createHash } from 'node:crypto';
import type { Interaction } from '../interaction.js';

/** Events in a full ring. With 14, a record of 1,000 rows of 5 bytes fits the 5,120-byte class of jemalloc. */
export const RECENT_EVENT_RING = 14;
/**
 * Entries of the longest ring: a full one, and tombstones of older events that were deleted since the last append. So a
 * deletion pushes none of the 14 events out, and the repeated wave of an updater that died is recognised.
 */
export const LONGEST_RING = 64;
/** Bytes of an event's hash. */
export const EVENT_HASH_BYTES = 6;
/** Bit of a ring entry's last byte: set if the event's row was deleted. */
export const RING_TOMBSTONE = 0x80;

/** The part of a record that deduplication reads. */
export interface RecentEvents {
  /** The ring: entries of {@link EVENT_HASH_BYTES} bytes, oldest first. */
  readonly recentEvents: Uint8Array; // [ringCount * 6]
}

/**
 * Returns the hash that stands for an event in a record: the first 6 bytes of sha256(eventId), with the top bit of the
 * last byte cleared. 47 bits remain. Among 10^12 interactions, each checked against a full ring, about 0.1 are wrongly
 * taken for duplicates.
 */
export function eventHash(eventId: string): Uint8Array {
  const hash = Uint8Array.from(createHash('sha256').update(eventId).digest().subarray(0, EVENT_HASH_BYTES));
  hash[EVENT_HASH_BYTES - 1] = (hash[EVENT_HASH_BYTES - 1] ?? 0) & ~RING_TOMBSTONE;
  return hash;
}

/** True if the record's ring holds the event, as a live entry or as a tombstone. */
export function hasEvent(record: RecentEvents, hash: Uint8Array): boolean {
  const ring = record.recentEvents;
  for (let offset = 0; offset < ring.length; offset += EVENT_HASH_BYTES) {
    if (sameEvent(ring, offset, hash)) return true;
  }
  return false;
}

/** Returns the interactions whose events are not in the record's ring: each event once, in the given order. */
export function freshInteractions(
  record: RecentEvents | undefined,
  interactions: readonly Interaction[],
): Interaction[] {
  const seen = new Set<string>();
  return interactions.filter(({ eventId }) => {
    const hash = eventHash(eventId);
    const key = Buffer.from(hash).toString('hex');
    const known = seen.has(key) || (record !== undefined && hasEvent(record, hash));
    seen.add(key);
    return !known;
  });
}

function sameEvent(ring: Uint8Array, offset: number, hash: Uint8Array): boolean {
  const last = EVENT_HASH_BYTES - 1;
  for (let i = 0; i < last; i++) if (ring[offset + i] !== hash[i]) return false;
  return ((ring[offset + last] ?? 0) & ~RING_TOMBSTONE) === hash[last];
}
