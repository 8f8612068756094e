/** A record as its bytes say: docs/wire-format.md, layout 1. */
export interface RecordBytes {
  /** 16 hexadecimal characters. */
  readonly encodingId: string;
  readonly strideBytes: number;
  readonly lifetimeCount: number;
  readonly newestMs: number;
  /** Oldest first; the hash is hexadecimal. */
  readonly ring: readonly { readonly hash: string; readonly tombstone: boolean }[];
  /** Oldest first. */
  readonly rows: readonly Buffer[];
}

const FIXED_BYTES = 30;
const HASH_BYTES = 6;
const TOMBSTONE = 0x80;

/**
 * Reads the bytes of a record. It shares no code with the product.
 * @throws Error naming the part that breaks the layout
 */
export function readRecordBytes(bytes: Buffer): RecordBytes {
  if (bytes.length < FIXED_BYTES || bytes.toString('latin1', 0, 2) !== 'CK' || bytes[2] !== 1)
    throw new Error(`${bytes.length} bytes do not begin as a record of layout 1`);
  const strideBytes = bytes.readUInt8(3) + 256 * bytes.readUInt8(5);
  const ringCount = bytes.readUInt8(4);
  const positions = bytes.readUInt32LE(26);
  const rowsAt = FIXED_BYTES + ringCount * HASH_BYTES;
  if (bytes.length !== rowsAt + positions * strideBytes)
    throw new Error(`${bytes.length} bytes; ${ringCount} ring entries and ${positions} rows of ${strideBytes} differ`);
  return {
    encodingId: bytes.toString('hex', 6, 14),
    strideBytes,
    lifetimeCount: bytes.readUIntLE(14, 6),
    newestMs: bytes.readUIntLE(20, 6),
    ring: Array.from({ length: ringCount }, (_, i) => {
      const hash = Buffer.from(bytes.subarray(FIXED_BYTES + i * HASH_BYTES, FIXED_BYTES + (i + 1) * HASH_BYTES));
      const last = hash[HASH_BYTES - 1] ?? 0;
      hash[HASH_BYTES - 1] = last & ~TOMBSTONE;
      return { hash: hash.toString('hex'), tombstone: (last & TOMBSTONE) !== 0 };
    }),
    rows: Array.from({ length: positions }, (_, i) =>
      bytes.subarray(rowsAt + i * strideBytes, rowsAt + (i + 1) * strideBytes),
    ),
  };
}

/** Returns the key of a user's record. */
export function recordKey(encodingId: string, userId: string): string {
  const escaped = userId.replace(/[%{}]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
  return `ckv:{${escaped}}:${encodingId.slice(0, 8)}`;
}
