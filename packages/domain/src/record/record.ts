import { counted } from '../counted.js';
import { CkvError } from '../errors.js';
import { EVENT_HASH_BYTES, LONGEST_RING, type RecentEvents } from './recent-events.js';

/** Bytes of the header, which comes before the ring. */
export const RECORD_FIXED_BYTES = 30;
/** The layout version that this code reads and writes. */
export const RECORD_LAYOUT = 1;
/** Bytes of the longest row: the header has two bytes for the stride. */
export const MAX_STRIDE_BYTES = 65_535;

const MAGIC = 0x4b43; // 'CK', little-endian

/** A user's decoded record. `rows` and `recentEvents` are views of the decoded bytes. */
export interface UserRecord extends RecentEvents {
  readonly encodingId: string;
  readonly strideBytes: number;
  readonly positionCount: number;
  /** Number of interactions ever applied, including trimmed and deleted ones. */
  readonly lifetimeCount: number;
  /** Time of the newest interaction, Unix milliseconds; 0 if unknown. */
  readonly lastEventMs: number;
  /** Rows of `strideBytes` bytes, oldest first. */
  readonly rows: Uint8Array; // [positionCount * strideBytes]
}

/**
 * Encodes a record to the bytes that docs/wire-format.md describes.
 * @throws bug if the ring or the rows are not a whole number of entries, or the ring has more than 64
 */
export function encodeRecord(record: Omit<UserRecord, 'positionCount'>): Uint8Array {
  const ringCount = record.recentEvents.length / EVENT_HASH_BYTES;
  const positionCount = record.rows.length / record.strideBytes;
  if (!Number.isInteger(ringCount) || ringCount > LONGEST_RING || !Number.isInteger(positionCount)) {
    throw new CkvError('bug', 'record parts are not whole entries');
  }
  const bytes = Buffer.alloc(RECORD_FIXED_BYTES + record.recentEvents.length + record.rows.length);
  bytes.writeUInt16LE(MAGIC, 0);
  bytes.writeUInt8(RECORD_LAYOUT, 2);
  bytes.writeUInt8(record.strideBytes & 0xff, 3);
  bytes.writeUInt8(ringCount, 4);
  bytes.writeUInt8(record.strideBytes >> 8, 5);
  bytes.write(record.encodingId, 6, 'hex');
  bytes.writeUIntLE(record.lifetimeCount, 14, 6);
  bytes.writeUIntLE(record.lastEventMs, 20, 6);
  bytes.writeUInt32LE(positionCount, 26);
  bytes.set(record.recentEvents, RECORD_FIXED_BYTES);
  bytes.set(record.rows, RECORD_FIXED_BYTES + record.recentEvents.length);
  return bytes;
}

/**
 * Decodes a record without copying it.
 * @throws encoding_mismatch for another encoding's record; record_corrupt for bytes that are not a record, with the
 * cause in the message
 */
export function decodeRecord(bytes: Uint8Array, expected: { encodingId: string; strideBytes: number }): UserRecord {
  if (bytes.length < RECORD_FIXED_BYTES) {
    throw corrupt(`truncated: ${counted(bytes.length, 'byte')}, a header has ${RECORD_FIXED_BYTES}`);
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.readUInt16LE(0) !== MAGIC) throw corrupt('foreign: it does not begin with CK');
  const layout = view.readUInt8(2);
  if (layout !== RECORD_LAYOUT) throw corrupt(`foreign: layout ${layout}, this build reads layout ${RECORD_LAYOUT}`);
  const encodingId = view.toString('hex', 6, 14);
  if (encodingId !== expected.encodingId) {
    throw new CkvError('encoding_mismatch', `the record is of encoding ${encodingId}, not ${expected.encodingId}`);
  }
  const strideBytes = strideOf(bytes);
  if (strideBytes !== expected.strideBytes) {
    throw corrupt(`foreign: rows of ${strideBytes} bytes, the encoding has ${expected.strideBytes}`);
  }
  const ringCount = view.readUInt8(4);
  if (ringCount > LONGEST_RING) throw corrupt(`malformed: ring of ${ringCount}, at most ${LONGEST_RING}`);
  const positionCount = view.readUInt32LE(26);
  const rowsOffset = RECORD_FIXED_BYTES + ringCount * EVENT_HASH_BYTES;
  const expectedBytes = rowsOffset + positionCount * strideBytes;
  if (bytes.length !== expectedBytes) {
    const problem = bytes.length < expectedBytes ? 'truncated' : 'oversized';
    throw corrupt(
      `${problem}: ${counted(bytes.length, 'byte')} in place of ${expectedBytes} for ${counted(positionCount, 'position')}`,
    );
  }
  return {
    encodingId,
    strideBytes,
    positionCount,
    lifetimeCount: view.readUIntLE(14, 6),
    lastEventMs: view.readUIntLE(20, 6),
    recentEvents: bytes.subarray(RECORD_FIXED_BYTES, rowsOffset),
    rows: bytes.subarray(rowsOffset),
  };
}

/**
 * Returns the row length in a record's header.
 * @throws record_corrupt if the header is truncated or the row length is 0
 */
export function strideOf(bytes: Uint8Array): number {
  const [low, high] = [bytes[3], bytes[5]];
  if (low === undefined || high === undefined) throw corrupt('truncated: it has no header');
  const strideBytes = low | (high << 8);
  if (strideBytes === 0) throw corrupt('foreign: rows of 0 bytes');
  return strideBytes;
}

function corrupt(problem: string): CkvError {
  return new CkvError('record_corrupt', `record is ${problem}`);
}
