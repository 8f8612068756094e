import { encodeRows, type LoadedBundle } from '@collectivekv/bundles';
import {
  decodeRecord,
  freshInteractions,
  type Interaction,
  newestRows,
  type Reason,
  type UserRecord,
} from '@collectivekv/domain';
import type { RunLimits } from '@collectivekv/engine';
import { degradedBy, halfTimeLeft } from '../degradation.js';
import type { RankQuery } from '../rank-query.js';
import type { Stopwatch } from '../stage-timings.js';
import type { RecordSource } from './record-source.js';

/** A user's history: the record's rows, then the rows of the recent interactions that the record lacks. */
export interface History {
  readonly rows: Uint8Array; // [positions, stride]
  /** Recent interactions among the rows. */
  readonly mergedCount: number;
  readonly record: UserRecord | undefined;
  /** The record as it was read, also if it is corrupt; undefined if none was read, or the user has none. */
  readonly bytes: Uint8Array | undefined;
  /** Age of the copy that the record was read from, ms; 0 if it was read for this request. */
  readonly ageMs: number;
  /** Why the record could not be read; undefined if it was read or the user has none. */
  readonly missing: Reason | undefined;
}

/** Arguments of {@link readHistory}. */
export interface HistoryRead {
  readonly records: Pick<RecordSource, 'get'>;
  readonly bundle: LoadedBundle;
  readonly query: Pick<RankQuery, 'userId' | 'historyPolicy' | 'maxStalenessMs' | 'recentInteractions'>;
  readonly limits: RunLimits & { readonly deadlineMs: number };
  readonly stopwatch: Stopwatch;
}

type StoredHistory = Pick<History, 'record' | 'bytes' | 'ageMs' | 'missing'>;

const NO_RECORD: StoredHistory = { record: undefined, bytes: undefined, ageMs: 0, missing: undefined };

/**
 * Reads the record of a query's user and encodes the recent interactions that it lacks. Reading the record may take
 * half of the time that is left until the request's deadline.
 * @throws as encodeRows does; the failure of the record, if `degradedBy` does not excuse it
 */
export async function readHistory(read: HistoryRead): Promise<History> {
  const { bundle, query, limits, stopwatch } = read;
  const recent = query.recentInteractions;
  const readStored = () => stopwatch.time('fetch', () => readStoredHistory(read));
  const encode = (interactions: readonly Interaction[], history?: Uint8Array) =>
    stopwatch.time('encode', () => encodeRows(bundle, interactions, { history, limits }));
  if (bundle.model.encodesWithHistory) {
    const stored = await readStored();
    const fresh = freshInteractions(stored.record, recent);
    return merge(bundle, stored, await encode(fresh, stored.record?.rows));
  }
  // Encoding needs no record: all are encoded while the record is read, and those that it has are dropped afterwards.
  const [stored, rows] = await Promise.all([readStored(), encode(recent)]);
  return merge(bundle, stored, freshRows(bundle, stored.record, recent, rows));
}

async function readStoredHistory({ records, bundle: { model }, query, limits }: HistoryRead): Promise<StoredHistory> {
  const { userId, maxStalenessMs, historyPolicy } = query;
  if (historyPolicy === 'ignored') return NO_RECORD;
  let bytes: Uint8Array | undefined;
  try {
    const deadlineMs = halfTimeLeft(limits.deadlineMs);
    const fetched = await records.get({ encodingId: model.encodingId, userId, maxStalenessMs, deadlineMs });
    const { ageMs } = fetched;
    bytes = fetched.bytes;
    if (!bytes) return { ...NO_RECORD, ageMs };
    const record = decodeRecord(bytes, { encodingId: model.encodingId, strideBytes: model.layout.strideBytes });
    return { record, bytes, ageMs, missing: undefined };
  } catch (thrown) {
    return { ...NO_RECORD, bytes, missing: degradedBy(thrown, historyPolicy) };
  }
}

/** Returns the recent rows whose events the record lacks. */
function freshRows(
  { model }: LoadedBundle,
  record: UserRecord | undefined,
  recent: readonly Interaction[],
  rows: Uint8Array,
): Uint8Array {
  const { strideBytes } = model.layout;
  const fresh = new Set(freshInteractions(record, recent));
  return Buffer.concat(
    recent.flatMap((one, i) => (fresh.has(one) ? [rows.subarray(i * strideBytes, (i + 1) * strideBytes)] : [])),
  );
}

/** Appends recent rows to the record's. If the history grows too long, drops the oldest positions. */
function merge({ model }: LoadedBundle, stored: StoredHistory, recentRows: Uint8Array): History {
  const { layout, manifest } = model;
  const storedRows = stored.record?.rows ?? new Uint8Array(0);
  if (recentRows.length === 0) return { ...stored, rows: storedRows, mergedCount: 0 };
  return {
    ...stored,
    rows: newestRows(layout, Buffer.concat([storedRows, recentRows]), manifest.maxPositions),
    mergedCount: recentRows.length / layout.strideBytes,
  };
}
