// The oracle counts what is wrong with a record, and finds nothing wrong with what the layout of docs/wire-format.md
// says.
import { describe, expect, it } from 'vitest';
import { createUserJournal, type SentEvent, type UserJournal } from '../load/user-journal.js';
import { checkRecord } from './check-record.js';
import { readRecordBytes, recordKey } from './record-bytes.js';

const ENCODING = '0123456789abcdef';

/** A user with so many interactions, all of them accepted. */
function journalOf(count: number): UserJournal {
  const journal = createUserJournal('u', { maxPositions: 20, forgetsByEventOnly: false });
  for (let i = 0; i < count; i++) {
    const input = { eventId: `e${i}`, userId: 'u', itemId: `i${i}`, timestampMs: 1_000 + i, action: '', features: {} };
    journal.record(input);
  }
  journal.accept();
  return journal;
}

const rowOf = ({ seq }: SentEvent) => Buffer.from([seq, 7]);

/** The record of these events, byte by byte. */
function bytesOf(events: readonly SentEvent[], { lifetime = events.length, tombstones = [] as number[] } = {}): Buffer {
  const header = Buffer.alloc(30);
  header.write('CK', 'latin1');
  header.writeUInt8(1, 2);
  header.writeUInt8(2, 3);
  const ring = events.slice(-14);
  header.writeUInt8(ring.length, 4);
  header.write(ENCODING, 6, 'hex');
  header.writeUIntLE(lifetime, 14, 6);
  header.writeUIntLE(Math.max(0, ...events.map(({ input }) => input.timestampMs)), 20, 6);
  const kept = events.filter(({ seq }) => !tombstones.includes(seq)).slice(-20);
  header.writeUInt32LE(kept.length, 26);
  const hashes = ring.map(({ hash, seq }) => {
    const bytes = Buffer.from(hash, 'hex');
    if (tombstones.includes(seq)) bytes.writeUInt8(bytes.readUInt8(5) | 0x80, 5);
    return bytes;
  });
  return Buffer.concat([header, ...hashes, ...kept.map(rowOf)]);
}

function check(journal: UserJournal, bytes: Buffer | undefined, rowsNameEvents = true) {
  const rows = journal.after(journal.steps.length).events.map(rowOf);
  return checkRecord({ journal, bytes, encodingId: ENCODING, rows, rowsNameEvents });
}

describe('the check of a record', () => {
  it.each([1, 14, 15, 30])('finds nothing wrong after %i interactions in order', (count) => {
    const journal = journalOf(count);
    expect(check(journal, bytesOf(journal.events))).toEqual({ lost: 0, duplicated: 0, outOfOrder: 0, problem: '' });
  });

  it('counts what is lost', () => {
    const journal = journalOf(6);
    const without = journal.events.filter(({ seq }) => seq !== 2 && seq !== 5);
    expect(check(journal, bytesOf(without))).toMatchObject({ lost: 2, duplicated: 0, outOfOrder: 0 });
    expect(check(journal, undefined)).toMatchObject({ lost: 6, problem: 'there is no record' });
  });

  it('counts what took effect twice', () => {
    const journal = journalOf(6);
    const twice = [...journal.events, ...journal.events.slice(3)];
    expect(check(journal, bytesOf(twice))).toMatchObject({ lost: 0, duplicated: 3, outOfOrder: 0 });
  });

  it('counts a repetition that was trimmed, by the interactions ever applied', () => {
    const journal = journalOf(30);
    expect(check(journal, bytesOf(journal.events, { lifetime: 32 }))).toMatchObject({ lost: 0, duplicated: 2 });
  });

  it('counts what is out of order', () => {
    const journal = journalOf(6);
    const [first, second, ...others] = journal.events;
    const moved = [second, first, ...others].filter((event) => event !== undefined);
    expect(check(journal, bytesOf(moved))).toMatchObject({ lost: 0, duplicated: 0, outOfOrder: 1 });
    expect(check(journal, bytesOf(moved), false)).toMatchObject({ lost: 0, duplicated: 0, outOfOrder: 1 });
  });

  it('expects a tombstone of what was forgotten, and counts it as double if its row is there', () => {
    const journal = journalOf(6);
    const [, second] = journal.events;
    if (second) journal.forget(second);
    expect(check(journal, bytesOf(journal.events, { tombstones: [1] })).problem).toBe('');
    expect(check(journal, bytesOf(journal.events))).toMatchObject({ duplicated: 1 });
  });

  it('allows both outcomes if forgetting raced with recording', () => {
    const journal = journalOf(6);
    const [, second] = journal.events;
    if (second) journal.race(second);
    expect(check(journal, bytesOf(journal.events, { tombstones: [1] })).problem).toBe('');
    expect(check(journal, bytesOf(journal.events)).problem).toBe('');
  });

  it('names a record that breaks the layout', () => {
    const journal = journalOf(3);
    expect(check(journal, bytesOf(journal.events).subarray(0, -1)).problem).toMatch(/bytes; 3 ring entries and 3 rows/);
    expect(check(journal, Buffer.from('no record')).problem).toMatch(/layout 1/);
  });
});

it('reads the parts of a record', () => {
  const journal = journalOf(3);
  const record = readRecordBytes(bytesOf(journal.events, { tombstones: [0] }));
  expect(record).toMatchObject({ encodingId: ENCODING, strideBytes: 2, lifetimeCount: 3, newestMs: 1_002 });
  expect(record.ring.map(({ tombstone }) => tombstone)).toEqual([true, false, false]);
  expect(record.rows.map((row) => row[0])).toEqual([1, 2]);
});

it('escapes the braces of a user id in its key', () => {
  expect(recordKey(ENCODING, 'a{b}%')).toBe('ckv:{a%7bb%7d%25}:01234567');
});
