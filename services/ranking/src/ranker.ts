import { type BundleFollower, encodeRows, type LoadedBundle, type RankScores, rankScores } from '@collectivekv/bundles';
import {
  assembleRank,
  type CkvError,
  decodeRecord,
  freshInteractions,
  type Interaction,
  newestRows,
  type Reason,
  type Tensors,
  toCkvError,
  type UserRecord,
} from '@collectivekv/domain';
import type { PoolRows } from './pool-rows.js';
import { candidatesOf, type RankQuery } from './rank-query.js';
import type { RecordSource } from './record-source.js';
import { orderOf } from './score-order.js';
import { createStopwatch, type StageTimings } from './stage-timings.js';

/** How far below the best an answer stands. */
export type Rung = 'full' | 'recent_only' | 'no_history';

/** Scores, order, and how they came about. */
export interface RankAnswer {
  readonly scores: Float32Array; // [candidates], in the query's order
  readonly order: Uint32Array; // indices of candidates, best first; [topK or candidates]
  readonly bundleId: string;
  readonly positionCount: number;
  readonly mergedCount: number;
  readonly unknownCandidateCount: number;
  readonly recordAgeMs: number;
  readonly lastEventMs: number;
  readonly coldUser: boolean;
  readonly rung: Rung;
  readonly rungReason: Reason | '';
  /** Runs of the graph that the candidates were shared between. */
  readonly partCount: number;
  readonly timings: StageTimings;
}

/** When an answer must be there, and what tells that nobody waits for it any more. */
export interface RankLimits {
  /** Unix ms. */
  readonly deadlineMs: number;
  readonly ended?: CkvError | undefined;
  readonly signal: AbortSignal;
}

/** Ranks candidates. */
export interface Ranker {
  /**
   * Scores a query's candidates by attention over the user's history.
   * @throws invalid_request, bundle_not_loaded, overloaded, deadline, cancelled; with history required also what kept
   * the record away
   */
  rank(query: RankQuery, limits: RankLimits): Promise<RankAnswer>;
}

/** What a ranker works with. */
export interface RankerParts {
  readonly bundles: Pick<BundleFollower, 'active' | 'get'>;
  readonly records: RecordSource;
  /** Gathers pool rows over the network; absent where the pool is a replica inside the rank graph. */
  readonly poolRows?: PoolRows | undefined;
  /** Candidates that a part has at least where idle workers share a request; 0 never splits. */
  readonly partCandidates: number;
}

interface History {
  readonly record: UserRecord | undefined;
  readonly ageMs: number;
  /** Why the record could not be had. */
  readonly missing: Reason | undefined;
}

const NO_RECORD: History = { record: undefined, ageMs: 0, missing: undefined };

/** Creates a ranker. */
export function createRanker({ bundles, records, poolRows, partCandidates }: RankerParts): Ranker {
  async function readHistory({ model }: LoadedBundle, query: RankQuery, deadlineMs: number): Promise<History> {
    if (query.historyPolicy === 'ignored') return NO_RECORD;
    try {
      const { userId, maxStalenessMs } = query;
      const fetched = await records.get({ bundleId: model.id, userId, maxStalenessMs, deadlineMs });
      if (!fetched.bytes) return { ...NO_RECORD, ageMs: fetched.ageMs };
      const record = decodeRecord(fetched.bytes, { bundleId: model.id, strideBytes: model.layout.strideBytes });
      return { record, ageMs: fetched.ageMs, missing: undefined };
    } catch (thrown) {
      const error = toCkvError(thrown);
      if (query.historyPolicy === 'required' || !DEGRADABLE.has(error.reason)) throw error;
      return { ...NO_RECORD, missing: error.reason };
    }
  }

  return {
    async rank(query, limits) {
      const stopwatch = createStopwatch();
      const bundle = query.bundleId === '' ? bundles.active() : bundles.get(query.bundleId);
      const reading = readAndEncode();
      const candidates = besides(reading, () => candidatesOf(bundle.model, query));
      const { history, recentRows } = await reading;
      const merged = mergeRecent(bundle, history.record, recentRows);
      const attended = await attend(merged.rows);
      const missing = attended.missing ?? history.missing;
      const withoutRows = attended.missing !== undefined || merged.rows.length === 0;
      return {
        scores: attended.scores,
        order: orderOf(attended.scores, query.topK),
        bundleId: bundle.model.id,
        positionCount: withoutRows ? 0 : merged.rows.length / bundle.model.layout.strideBytes,
        mergedCount: withoutRows ? 0 : merged.mergedCount,
        unknownCandidateCount: candidates.unknownCount,
        recordAgeMs: history.ageMs,
        lastEventMs: history.record?.lastEventMs ?? 0,
        coldUser: !history.record && !missing && query.historyPolicy !== 'ignored',
        rung: rungOf(query, missing, withoutRows),
        rungReason: missing ?? '',
        partCount: attended.partCount,
        timings: stopwatch.finish(),
      };

      /** The record, and the rows of the recent interactions that it lacks. */
      async function readAndEncode(): Promise<{ history: History; recentRows: Uint8Array }> {
        const recent = query.recentInteractions;
        const read = () => stopwatch.time('fetch', () => readHistory(bundle, query, recordDeadline(limits.deadlineMs)));
        const encode = (interactions: readonly Interaction[], rows?: Uint8Array) =>
          stopwatch.time('encode', () => encodeRows(bundle, interactions, { history: rows, limits }));
        if (bundle.model.encodesWithHistory) {
          const history = await read();
          const fresh = freshInteractions(history.record, recent);
          return { history, recentRows: await encode(fresh, history.record?.rows) };
        }
        // Encoding needs no record: both run at once, and what the record already holds is left out afterwards.
        const [history, rows] = await Promise.all([read(), encode(recent)]);
        return { history, recentRows: freshRows(bundle, history.record, recent, rows) };
      }

      async function attend(rows: Uint8Array): Promise<RankScores & { missing?: Reason }> {
        const run = (graph: 'rank' | 'rankKv', feeds: Tensors) =>
          stopwatch.time('attend', () => rankScores(bundle, graph, feeds, { partCandidates, limits }));
        if (!poolRows) {
          const feeds = await stopwatch.time('assemble', () => assembleRank(bundle.model, rows, candidates));
          return run('rank', feeds);
        }
        const source = poolRows;
        const gathered = await stopwatch
          .time('gather', () => source.gather(bundle.model, rows, limits))
          .catch((thrown: unknown) => {
            const error = toCkvError(thrown);
            if (query.historyPolicy === 'required' || !DEGRADABLE.has(error.reason)) throw error;
            return error.reason;
          });
        if (typeof gathered === 'string') {
          const feeds = source.assemble(bundle.model, new Uint8Array(0), new Map(), candidates);
          return { ...(await run('rankKv', feeds)), missing: gathered };
        }
        const feeds = await stopwatch.time('assemble', () => source.assemble(bundle.model, rows, gathered, candidates));
        return run('rankKv', feeds);
      }
    },
  };
}

/** Does what needs no record while the record is on its way; where that fails, nobody waits for the record. */
function besides<T>(reading: Promise<unknown>, work: () => T): T {
  try {
    return work();
  } catch (error) {
    reading.catch(() => undefined);
    throw error;
  }
}

/** Failures of the history's way that an answer without history can stand in for. */
const DEGRADABLE: ReadonlySet<Reason> = new Set<Reason>([
  'dependency_unavailable',
  'draining',
  'overloaded',
  'deadline',
  'record_corrupt',
  'bundle_mismatch',
]);

/** The history may use up to half of the time left, so that an answer without it still makes the deadline. */
function recordDeadline(deadlineMs: number): number {
  const nowMs = Date.now();
  return nowMs + (deadlineMs - nowMs) / 2;
}

/** The recent rows whose events the record lacks. */
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

/** Puts recent rows behind the record's; the oldest positions go where the history grows too long. */
function mergeRecent(
  { model }: LoadedBundle,
  record: UserRecord | undefined,
  recentRows: Uint8Array,
): { rows: Uint8Array; mergedCount: number } {
  const stored = record?.rows ?? new Uint8Array(0);
  if (recentRows.length === 0) return { rows: stored, mergedCount: 0 };
  return {
    rows: newestRows(model.layout, Buffer.concat([stored, recentRows]), model.manifest.maxPositions),
    mergedCount: recentRows.length / model.layout.strideBytes,
  };
}

function rungOf(query: RankQuery, missing: Reason | undefined, withoutRows: boolean): Rung {
  if (missing === undefined && query.historyPolicy !== 'ignored') return 'full';
  return withoutRows ? 'no_history' : 'recent_only';
}
