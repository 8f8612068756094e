import type { LogRow } from './row-checks.js';

/**
 * Finds events that a log has again. An event id names one event of its user. It takes 8 to 16 bytes of memory for each
 * event, because it keeps hashes. So an event that it finds may be new: the caller compares.
 */
export interface EventHashes {
  /** Adds an event. Returns true if an event with this hash was added before. */
  add(userId: string, eventId: string): boolean;
}

const FIRST_SLOTS = 1 << 12;

/** Creates an empty set of events. */
export function createEventHashes(): EventHashes {
  let slots = new Uint32Array(2 * FIRST_SLOTS); // pairs of 32 bits; 0, 0 is free
  let count = 0;

  /** Puts a pair into the table. Returns false if it is there. */
  function put(table: Uint32Array, high: number, low: number): boolean {
    const mask = table.length / 2 - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const [foundHigh, foundLow] = [table[2 * slot], table[2 * slot + 1]];
      if (foundHigh === high && foundLow === low) return false;
      if (foundHigh === 0 && foundLow === 0) {
        table[2 * slot] = high;
        table[2 * slot + 1] = low;
        return true;
      }
    }
  }

  return {
    add(userId, eventId) {
      const text = `${userId.length}:${userId}${eventId}`;
      const high = hash(text, 0x9e3779b1);
      const low = hash(text, 0x85ebca6b) || 1;
      if (!put(slots, high, low)) return true;
      if (++count * 4 > slots.length) {
        const larger = new Uint32Array(2 * slots.length);
        for (let i = 0; i < slots.length; i += 2) {
          if (slots[i] !== 0 || slots[i + 1] !== 0) put(larger, slots[i] ?? 0, slots[i + 1] ?? 0);
        }
        slots = larger;
      }
      return false;
    },
  };
}

/** Returns 32 bits of a text: the steps of murmur3 over its UTF-16 units. */
function hash(text: string, seed: number): number {
  let h = seed;
  for (let i = 0; i < text.length; i++) {
    let k = Math.imul(text.charCodeAt(i), 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, 0x1b873593);
    h = Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64;
  }
  h ^= text.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** What a row says of an event, for the comparison of two rows. */
export function contentOf({ interaction: { itemId, timestampMs, action, features }, label }: LogRow): string {
  return JSON.stringify([itemId, timestampMs, action, label ?? null, Object.entries(features ?? {})]);
}

/** Returns a text that names the event of a row. */
export function eventKey({ interaction: { userId, eventId } }: LogRow): string {
  return `${userId.length}:${userId}${eventId}`;
}
