import { decodeRecord, EVENT_HASH_BYTES, eventHash } from '@collectivekv/domain';
import { describe, expect, it } from 'vitest';
import { deleteFromRecord } from './record-edit.js';

const shape = { encodingId: '0123456789abcdef', strideBytes: 2 };

describe('deleteFromRecord', () => {
  it('keeps each ring entry with its row after a row is deleted by content', () => {
    const record = {
      ...shape,
      lifetimeCount: 3,
      lastEventMs: 1,
      positionCount: 3,
      recentEvents: Buffer.concat([eventHash('2'), eventHash('3')]),
      rows: Uint8Array.of(1, 1, 2, 2, 3, 3),
    };
    const { bytes } = deleteFromRecord(record, { ...match('old'), row: Uint8Array.of(1, 1) });
    const edited = decodeRecord(bytes ?? new Uint8Array(0), shape);
    expect(edited.recentEvents.length).toBe(3 * EVENT_HASH_BYTES);
    const { bytes: without2 } = deleteFromRecord(edited, match('2'));
    expect([...decodeRecord(without2 ?? new Uint8Array(0), shape).rows]).toEqual([3, 3]);
    expect(deleteFromRecord(edited, match('old'))).toEqual({
      bytes: undefined,
      outcome: { deleted: false, positionCount: 2, eventKnown: true, laterCount: 0, unreadable: false },
    });
  });
});

describe('deleteFromRecord by content', () => {
  const rowsAfter = (rows: number[], row: number[], tolerance: number[], ring: Uint8Array = new Uint8Array(0)) => {
    const record = { ...shape, lifetimeCount: 9, lastEventMs: 1, positionCount: rows.length / 2, recentEvents: ring };
    const given = { eventHash: eventHash('old'), row: Uint8Array.from(row), tolerance: Uint8Array.from(tolerance) };
    const { bytes } = deleteFromRecord({ ...record, rows: Uint8Array.from(rows) }, given);
    return bytes && [...decodeRecord(bytes, shape).rows];
  };

  it('finds the row with the least sum of differences, wherever it is', () => {
    expect(rowsAfter([11, 10, 11, 11, 50, 50], [10, 10], [1, 1])).toEqual([11, 11, 50, 50]);
    expect(rowsAfter([11, 11, 11, 10, 50, 50], [10, 10], [1, 1])).toEqual([11, 11, 50, 50]);
    expect(rowsAfter([50, 50, 11, 11, 10, 9], [10, 10], [1, 1])).toEqual([50, 50, 11, 11]);
  });

  it('finds the oldest row and the only row', () => {
    expect(rowsAfter([7, 7, 50, 50], [7, 7], [])).toEqual([50, 50]);
    expect(rowsAfter([7, 7], [7, 7], [])).toEqual([]);
  });

  it('finds the newest of equal rows', () => {
    const ring = Buffer.concat([eventHash('a'), eventHash('b')]);
    expect(rowsAfter([7, 7, 8, 8, 7, 7, 9, 9, 9, 9], [7, 7], [], ring)).toEqual([7, 7, 8, 8, 9, 9, 9, 9]);
    expect(rowsAfter([7, 8, 6, 8, 50, 50], [7, 7], [1, 1])).toEqual([6, 8, 50, 50]);
  });

  it('passes over the rows of the events in the ring', () => {
    const ring = Buffer.concat([eventHash('a'), eventHash('b')]);
    expect(rowsAfter([7, 7, 8, 8, 7, 7, 7, 7], [7, 7], [], ring)).toEqual([8, 8, 7, 7, 7, 7]);
    expect(rowsAfter([8, 8, 7, 7, 7, 7], [7, 7], [], ring)).toBeUndefined();
    expect(rowsAfter([7, 7], [7, 7], [], ring)).toBeUndefined(); // the row of a was trimmed
  });

  it('finds nothing with a row of another length', () => {
    expect(rowsAfter([7, 7], [7], [])).toBeUndefined();
    expect(rowsAfter([7, 7], [7, 7, 7], [])).toBeUndefined();
  });
});

describe('deleteFromRecord by an event of a trimmed row', () => {
  const trimmed = {
    ...shape,
    lifetimeCount: 3,
    lastEventMs: 1,
    positionCount: 2,
    recentEvents: Buffer.concat(['1', '2', '3'].map(eventHash)),
    rows: Uint8Array.of(2, 2, 3, 3),
  };

  it('finds no row for the trimmed event, and the right rows for the others', () => {
    const of1 = deleteFromRecord(trimmed, match('1'));
    expect(of1).toEqual({
      bytes: undefined,
      outcome: { deleted: false, positionCount: 2, eventKnown: true, laterCount: 0, unreadable: false },
    });
    const of2 = deleteFromRecord(trimmed, match('2'));
    expect([...decodeRecord(of2.bytes ?? new Uint8Array(0), shape).rows]).toEqual([3, 3]);
    expect(of2.outcome).toMatchObject({ deleted: true, positionCount: 1, eventKnown: true, laterCount: 1 });
    expect(deleteFromRecord(trimmed, match('0')).outcome.eventKnown).toBe(false);
  });
});

function match(eventId: string) {
  return { eventHash: eventHash(eventId), row: new Uint8Array(0), tolerance: new Uint8Array(0) };
}
