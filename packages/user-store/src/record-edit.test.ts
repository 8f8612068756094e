import { decodeRecord, EVENT_HASH_BYTES, eventHash } from '@collectivekv/domain';
import { describe, expect, it } from 'vitest';
import { deleteFromRecord } from './record-edit.js';

const shape = { bundleId: '0123456789abcdef', strideBytes: 2 };

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
    const bytes = deleteFromRecord(record, { ...match('old'), row: Uint8Array.of(3, 3) });
    const edited = decodeRecord(bytes ?? new Uint8Array(0), shape);
    expect(edited.recentEvents.length).toBe(3 * EVENT_HASH_BYTES);
    const without2 = deleteFromRecord(edited, match('2'));
    expect([...decodeRecord(without2 ?? new Uint8Array(0), shape).rows]).toEqual([1, 1]);
    expect(deleteFromRecord(edited, match('3'))).toBeUndefined();
  });
});

function match(eventId: string) {
  return { eventHash: eventHash(eventId), row: new Uint8Array(0), tolerance: new Uint8Array(0) };
}
