import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CkvError } from '../errors.js';
import { EVENT_HASH_BYTES, eventHash, LONGEST_RING } from './recent-events.js';
import { decodeRecord, encodeRecord, strideOf } from './record.js';

const encodingId = '0123456789abcdef';
const golden = {
  encodingId,
  strideBytes: 5,
  lifetimeCount: 7,
  lastEventMs: 1_700_000_000_123,
  recentEvents: Uint8Array.from([...eventHash('e1'), ...eventHash('e2')]),
  rows: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
};
const GOLDEN_HEX =
  '434b010502000123456789abcdef0700000000007b68e5cf8b01020000008b5cc4df7e6cac0f09c0f83f0102030405060708090a';

const record = fc
  .record({
    stride: fc.oneof(fc.integer({ min: 1, max: 255 }), fc.integer({ min: 256, max: 65_535 })),
    positions: fc.nat(4),
    ring: fc.nat(LONGEST_RING),
  })
  .chain(({ stride, positions, ring }) =>
    fc.record({
      encodingId: fc.constant(encodingId),
      strideBytes: fc.constant(stride),
      lifetimeCount: fc.nat(2 ** 31),
      lastEventMs: fc.nat(2 ** 41),
      recentEvents: fc.uint8Array({ minLength: ring * EVENT_HASH_BYTES, maxLength: ring * EVENT_HASH_BYTES }),
      rows: fc.uint8Array({ minLength: positions * stride, maxLength: positions * stride }),
    }),
  );

function reasonOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof CkvError) return error.reason;
    throw error;
  }
  return 'accepted';
}

describe('record', () => {
  it('has the golden bytes', () => {
    expect(Buffer.from(encodeRecord(golden)).toString('hex')).toBe(GOLDEN_HEX);
  });

  it('decodes the golden bytes', () => {
    const decoded = decodeRecord(Buffer.from(GOLDEN_HEX, 'hex'), { encodingId, strideBytes: 5 });
    expect(decoded).toMatchObject({
      ...golden,
      positionCount: 2,
      recentEvents: expect.anything(),
      rows: expect.anything(),
    });
    expect([...decoded.rows]).toEqual([...golden.rows]);
  });

  it('decodes to what was encoded, whatever it holds', () => {
    fc.assert(
      fc.property(record, (given) => {
        const decoded = decodeRecord(encodeRecord(given), given);
        expect(Buffer.from(decoded.rows).equals(given.rows)).toBe(true);
        expect(Buffer.from(decoded.recentEvents).equals(given.recentEvents)).toBe(true);
        expect(decoded).toMatchObject({ lifetimeCount: given.lifetimeCount, lastEventMs: given.lastEventMs });
      }),
    );
  });

  it('refuses every truncation', () => {
    const bytes = encodeRecord(golden);
    for (let length = 0; length < bytes.length; length++) {
      expect(reasonOf(() => decodeRecord(bytes.subarray(0, length), golden))).toBe('record_corrupt');
    }
  });

  it.each([
    ['oversized', (b: Buffer) => Buffer.concat([b, Buffer.of(0)]), /oversized/],
    ['foreign magic', (b: Buffer) => b.fill(0x58, 0, 1), /does not begin with CK/],
    ['another layout', (b: Buffer) => b.fill(9, 2, 3), /layout 9/],
    ['another stride', (b: Buffer) => b.fill(6, 3, 4), /rows of 6 bytes/],
    ['a stride above 255', (b: Buffer) => b.fill(1, 5, 6), /rows of 261 bytes/],
    ['no stride', (b: Buffer) => b.fill(0, 3, 4), /rows of 0 bytes/],
    ['an oversized ring', (b: Buffer) => b.fill(65, 4, 5), /record is malformed: ring of 65, at most 64/],
  ])('refuses %s and says why', (_, spoil, message) => {
    const bytes = spoil(Buffer.from(encodeRecord(golden)));
    expect(() => decodeRecord(bytes, golden)).toThrow(message);
    expect(reasonOf(() => decodeRecord(bytes, golden))).toBe('record_corrupt');
  });

  it.each([
    [29, /^record is truncated: 29 bytes, a header has 30$/],
    [51, /^record is truncated: 51 bytes in place of 52 for 2 positions$/],
  ])('says how a record of %i bytes is truncated', (length, message) => {
    expect(() => decodeRecord(encodeRecord(golden).subarray(0, length), golden)).toThrow(message);
  });

  it("refuses another encoding's record as a mismatch", () => {
    const other = { ...golden, encodingId: 'f'.repeat(16) };
    expect(() => decodeRecord(encodeRecord(golden), other)).toThrow(
      expect.objectContaining({
        reason: 'encoding_mismatch',
        message: 'the record is of encoding 0123456789abcdef, not ffffffffffffffff',
      }),
    );
  });
});

describe('encodeRecord', () => {
  it('holds a full ring of 14 events', () => {
    const ring = { ...golden, recentEvents: new Uint8Array(14 * EVENT_HASH_BYTES).fill(7) };
    expect(decodeRecord(encodeRecord(ring), ring).recentEvents).toHaveLength(84);
  });

  it.each([
    ['part of a ring entry', { recentEvents: new Uint8Array(7) }],
    ['a ring of 65 events', { recentEvents: new Uint8Array(65 * EVENT_HASH_BYTES) }],
    ['part of a row', { rows: new Uint8Array(6) }],
  ])('throws a bug for %s', (_, change) => {
    const bug = expect.objectContaining({ reason: 'bug', message: 'record parts are not whole entries' });
    expect(() => encodeRecord({ ...golden, ...change })).toThrow(bug);
  });
});

describe('strideOf', () => {
  it('reads the row length of a header, in two bytes', () => {
    expect(strideOf(Uint8Array.of(0x43, 0x4b, 1, 5, 0, 2))).toBe(0x205);
  });

  it.each([
    ['no bytes', [], 'record is truncated: it has no header'],
    ['half of the row length', [0x43, 0x4b, 1, 5, 0], 'record is truncated: it has no header'],
    ['rows of no bytes', [0x43, 0x4b, 1, 0, 0, 0], 'record is foreign: rows of 0 bytes'],
  ])('refuses a header with %s', (_, bytes, message) => {
    expect(() => strideOf(Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ reason: 'record_corrupt', message }),
    );
  });
});
