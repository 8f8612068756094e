import type { ExpectedRecord, SentEvent, UserJournal } from '../load/user-journal.js';
import { type RecordBytes, readRecordBytes } from './record-bytes.js';
import type { Verdict } from './verdict.js';

/** What the check of a record found. */
export type RecordFinding = Pick<Verdict, 'lost' | 'duplicated' | 'outOfOrder'> & {
  /** In what the record differs; empty if it holds what it must. */
  readonly problem: string;
};

/** Parts of {@link checkRecord}. */
export interface RecordCheck {
  readonly journal: UserJournal;
  /** The record as Redis has it; undefined if there is none. */
  readonly bytes: Buffer | undefined;
  readonly encodingId: string;
  /** Rows that the record must hold, oldest first: one for each of `journal.after(all steps).events`. */
  readonly rows: readonly Buffer[];
  /** True if equal rows mean equal events. False if rows depend on the history. */
  readonly rowsNameEvents: boolean;
}

const NOTHING = { lost: 0, duplicated: 0, outOfOrder: 0, problem: '' };

/** Compares a record with everything that was sent for its user. */
export function checkRecord({ journal, bytes, encodingId, rows, rowsNameEvents }: RecordCheck): RecordFinding {
  const expected = journal.after(journal.steps.length);
  if (!bytes) {
    if (expected.lifetimeCount === 0) return NOTHING;
    return { ...NOTHING, lost: expected.lifetimeCount, problem: 'there is no record' };
  }
  let record: RecordBytes;
  try {
    record = readRecordBytes(bytes);
  } catch (error) {
    return { ...NOTHING, lost: expected.lifetimeCount, problem: (error as Error).message };
  }
  const differences = [
    record.encodingId === encodingId ? '' : `encoding ${record.encodingId}`,
    difference('interactions ever applied', record.lifetimeCount, expected.lifetimeCount),
    difference('newest ms', record.newestMs, expected.newestMs),
    ...undecidedRing(record, expected, journal),
    ...rowDifference(record, expected, rows, journal),
  ].filter((text) => text !== '');
  if (differences.length === 0) return NOTHING;

  const surplus = record.lifetimeCount - expected.lifetimeCount;
  const counted = rowsNameEvents
    ? countEvents(record.rows, expected.events, rows)
    : { lost: 0, duplicated: 0, outOfOrder: surplus === 0 ? 1 : 0 };
  return {
    lost: Math.max(counted.lost, -surplus),
    duplicated: Math.max(counted.duplicated, surplus),
    outOfOrder: counted.outOfOrder,
    problem: differences.join('; '),
  };
}

function difference(name: string, got: number, wanted: number): string {
  return got === wanted ? '' : `${name}: ${got}, not ${wanted}`;
}

function undecidedRing(record: RecordBytes, expected: ExpectedRecord, { undecided }: UserJournal): string[] {
  const open = new Set([...undecided].map(({ hash }) => hash));
  const text = (ring: RecordBytes['ring']) =>
    ring.map(({ hash, tombstone }) => `${hash}${tombstone && !open.has(hash) ? '-' : ''}`).join(' ');
  const [got, wanted] = [text(record.ring), text(expected.ring)];
  return got === wanted ? [] : [`ring: ${got}, not ${wanted}`];
}

function rowDifference(
  record: RecordBytes,
  expected: ExpectedRecord,
  rows: readonly Buffer[],
  { undecided }: UserJournal,
): string[] {
  const wanted: Buffer[] = [];
  let at = 0;
  for (const [i, event] of expected.events.entries()) {
    const row = rows[i] as Buffer;
    if (undecided.has(event) && !record.rows[at]?.equals(row)) continue;
    wanted.push(row);
    at++;
  }
  const first = record.rows.findIndex((row, i) => !wanted[i]?.equals(row));
  if (first < 0 && record.rows.length === wanted.length) return [];
  return [`${record.rows.length} rows, not ${wanted.length}; they differ from row ${first} on`];
}

/** Counts by the events that the rows name. */
function countEvents(got: readonly Buffer[], events: readonly SentEvent[], rows: readonly Buffer[]) {
  const seqOf = new Map(rows.map((row, i) => [row.toString('hex'), events[i]?.seq ?? Number.NaN]));
  const seqs = got.map((row) => seqOf.get(row.toString('hex')));
  const known = seqs.filter((seq) => seq !== undefined);
  const distinct = [...new Set(known)];
  return {
    lost: Math.max(0, events.length - distinct.length),
    duplicated: seqs.length - distinct.length, // a row of no expected event was forgotten, or trimmed
    outOfOrder: distinct.length - longestAscending(distinct),
  };
}

function longestAscending(values: readonly number[]): number {
  const tails: number[] = [];
  for (const value of values) {
    const at = tails.findIndex((tail) => tail >= value);
    tails[at < 0 ? tails.length : at] = value;
  }
  return tails.length;
}
