import { createHash } from 'node:crypto';
import { CkvError } from './errors.js';
import type { Interaction } from './interaction.js';

/** Events that a record remembers for deduplication; with it 1,000 rows of 5 bytes fill jemalloc's 5,120-byte class. */
export const RECENT_EVENT_RING = 14;
/** Bytes of an event's hash. */
export const EVENT_HASH_BYTES = 6;
/** Bytes before the ring. */
export const RECORD_FIXED_BYTES = 30;
/** The layout this code reads and writes. */
export const RECORD_LAYOUT = 1;
/** Longest row: the stride has two bytes. */
export const MAX_STRIDE_BYTES = 65_535;
/** In a ring entry's last byte: the event's row was deleted. */
export const RING_TOMBSTONE = 0x80;

const MAGIC = 0x4b43; // 'CK', little-endian

/** A user's record, decoded. `rows` and `recentEvents` are views of the bytes given. */
export interface UserRecord {
  readonly bundleId: string;
  readonly strideBytes: number;
  readonly positionCount: number;
  /** Interactions ever applied, trimmed and deleted ones included. */
  readonly lifetimeCount: number;
  /** Unix milliseconds of the newest interaction; 0 where none is known. */
  readonly lastEventMs: number;
  /** {@link EVENT_HASH_BYTES} an entry, oldest first. */
  readonly recentEvents: Uint8Array; // [ringCount * 6]
  /** Oldest first. */
  readonly rows: Uint8Array; // [positionCount * strideBytes]
}

/**
 * The hash that stands for an event in a record: the first 6 bytes of sha256(eventId) with the top bit cleared, which
 * leaves 47 bits: of 10^12 interactions against full rings, 0.1 are taken for duplicates wrongly.
 */
export function eventHash(eventId: string): Uint8Array {
  const hash = Uint8Array.from(createHash('sha256').update(eventId).digest().subarray(0, EVENT_HASH_BYTES));
  hash[EVENT_HASH_BYTES - 1] = (hash[EVENT_HASH_BYTES - 1] ?? 0) & ~RING_TOMBSTONE;
  return hash;
}

/** Writes a record; docs/wire-format.md draws it. */
export function encodeRecord(record: Omit<UserRecord, 'positionCount'>): Uint8Array {
  const ringCount = record.recentEvents.length / EVENT_HASH_BYTES;
  const positionCount = record.rows.length / record.strideBytes;
  if (!Number.isInteger(ringCount) || ringCount > RECENT_EVENT_RING || !Number.isInteger(positionCount)) {
    throw new CkvError('bug', 'record parts are not whole entries');
  }
  const bytes = Buffer.alloc(RECORD_FIXED_BYTES + record.recentEvents.length + record.rows.length);
  bytes.writeUInt16LE(MAGIC, 0);
  bytes.writeUInt8(RECORD_LAYOUT, 2);
  bytes.writeUInt8(record.strideBytes & 0xff, 3);
  bytes.writeUInt8(ringCount, 4);
  bytes.writeUInt8(record.strideBytes >> 8, 5);
  bytes.write(record.bundleId, 6, 'hex');
  bytes.writeUIntLE(record.lifetimeCount, 14, 6);
  bytes.writeUIntLE(record.lastEventMs, 20, 6);
  bytes.writeUInt32LE(positionCount, 26);
  bytes.set(record.recentEvents, RECORD_FIXED_BYTES);
  bytes.set(record.rows, RECORD_FIXED_BYTES + record.recentEvents.length);
  return bytes;
}

/**
 * Reads a record without copying.
 * @throws bundle_mismatch for another bundle's record, record_corrupt for bytes that are no record; the message says why
 */
export function decodeRecord(bytes: Uint8Array, expected: { bundleId: string; strideBytes: number }): UserRecord {
  if (bytes.length < RECORD_FIXED_BYTES) {
    throw corrupt(`truncated: ${bytes.length} bytes, a header has ${RECORD_FIXED_BYTES}`);
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.readUInt16LE(0) !== MAGIC) throw corrupt('foreign: it does not begin with CK');
  const layout = view.readUInt8(2);
  if (layout !== RECORD_LAYOUT) throw corrupt(`foreign: layout ${layout}, this build reads layout ${RECORD_LAYOUT}`);
  const bundleId = view.toString('hex', 6, 14);
  if (bundleId !== expected.bundleId) {
    throw new CkvError('bundle_mismatch', `the record is of bundle ${bundleId}, not ${expected.bundleId}`);
  }
  const strideBytes = strideOf(bytes);
  if (strideBytes !== expected.strideBytes) {
    throw corrupt(`foreign: rows of ${strideBytes} bytes, the bundle has ${expected.strideBytes}`);
  }
  const ringCount = view.readUInt8(4);
  if (ringCount > RECENT_EVENT_RING) throw corrupt(`ring of ${ringCount} events, at most ${RECENT_EVENT_RING}`);
  const positionCount = view.readUInt32LE(26);
  const rowsOffset = RECORD_FIXED_BYTES + ringCount * EVENT_HASH_BYTES;
  const expectedBytes = rowsOffset + positionCount * strideBytes;
  if (bytes.length !== expectedBytes) {
    const problem = bytes.length < expectedBytes ? 'truncated' : 'oversized';
    throw corrupt(`${problem}: ${bytes.length} bytes, ${positionCount} positions take ${expectedBytes}`);
  }
  return {
    bundleId,
    strideBytes,
    positionCount,
    lifetimeCount: view.readUIntLE(14, 6),
    lastEventMs: view.readUIntLE(20, 6),
    recentEvents: bytes.subarray(RECORD_FIXED_BYTES, rowsOffset),
    rows: bytes.subarray(rowsOffset),
  };
}

/** The stride that a record's header gives. Throws record_corrupt where it gives none. */
export function strideOf(bytes: Uint8Array): number {
  const [low, high] = [bytes[3], bytes[5]];
  if (low === undefined || high === undefined) throw corrupt('truncated: it has no header');
  const strideBytes = low | (high << 8);
  if (strideBytes === 0) throw corrupt('foreign: rows of 0 bytes');
  return strideBytes;
}

/** True where the record's ring holds the event, deleted or not. */
export function hasEvent(record: Pick<UserRecord, 'recentEvents'>, hash: Uint8Array): boolean {
  const ring = record.recentEvents;
  for (let offset = 0; offset < ring.length; offset += EVENT_HASH_BYTES) {
    if (sameEvent(ring, offset, hash)) return true;
  }
  return false;
}

/** The interactions whose events the record does not know, each event once, in their order. */
export function freshInteractions(
  record: Pick<UserRecord, 'recentEvents'> | undefined,
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

function corrupt(problem: string): CkvError {
  return new CkvError('record_corrupt', `record is ${problem}`);
}
