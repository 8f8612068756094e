import type { BundleFollower, LoadedBundle } from '@collectivekv/bundles';
import type { Reason } from '@collectivekv/domain';
import { attend } from './attention/attend.js';
import type { PoolRows } from './attention/pool-rows.js';
import { orderOf } from './attention/score-order.js';
import type { CaptureOutcome } from './capture/capture-outcome.js';
import type { CoverageSampler } from './coverage.js';
import { type Rung, rungOf } from './degradation.js';
import type { Explainer } from './explanation/explainer.js';
import type { Explanation } from './explanation/explanation.js';
import type { RankBasis } from './rank-basis.js';
import { candidatesOf, type RankLimits, type RankQuery } from './rank-query.js';
import { readHistory } from './records/history.js';
import type { RecordSource } from './records/record-source.js';
import { createStopwatch, type StageTimings } from './stage-timings.js';

/** Why a bundle answered: it is the active one, it is a canary and the user in its share, or the request named it. */
export type ServedAs = 'active' | 'canary' | 'pinned';

/** Scores, order, and how they were computed. */
export interface RankAnswer {
  readonly scores: Float32Array; // [candidates], in the query's order
  readonly order: Uint32Array; // indices of candidates, best first; [topK or candidates]
  readonly bundleId: string;
  readonly encodingId: string;
  readonly servedAs: ServedAs;
  /** Share of the users that the bundle serves, in parts per 10,000, if it is a canary; otherwise 0. */
  readonly canaryShareBp: number;
  /** Positions attended to, merged recent interactions included. */
  readonly positionCount: number;
  /** Recent interactions merged. */
  readonly mergedCount: number;
  readonly unknownCandidateCount: number;
  /** Age of the copy of the record, ms; 0 if it was read for this request. */
  readonly recordAgeMs: number;
  /** The record's newest interaction, Unix ms; 0 without a record. */
  readonly lastEventMs: number;
  /** True if the user has no record. */
  readonly coldUser: boolean;
  readonly rung: Rung;
  /** Why the answer is below the rung `full`; empty if it is not, or if the caller ignores history. */
  readonly rungReason: Reason | '';
  /** Graph runs that scored the candidates, each a part of them. */
  readonly partCount: number;
  /** Without the time of the explanation. */
  readonly timings: StageTimings;
  readonly basis: RankBasis;
  readonly capture: CaptureOutcome;
  /** Undefined unless the query asks for it. */
  readonly explanation?: Explanation;
}

/** Ranks candidates. */
export interface Ranker {
  /**
   * Scores a query's candidates by attention over the user's history.
   * @throws invalid_request, bundle_not_loaded, overloaded, deadline, cancelled; if history is required, also the
   * reason why it is missing
   */
  rank(query: RankQuery, limits: RankLimits): Promise<RankAnswer>;
}

/** Parts of a ranker. */
export interface RankerParts {
  readonly bundles: Pick<BundleFollower, 'serving' | 'get' | 'hold'>;
  readonly records: Pick<RecordSource, 'get'>;
  /** Gathers pool rows over the network; undefined if the rank graph contains the pool. */
  readonly poolRows?: PoolRows | undefined;
  /** Fewest candidates of a part if idle workers share a request; 0 never splits a request. */
  readonly partCandidates: number;
  /** Measures the coverage of other bundles by the answered requests; undefined measures none. */
  readonly coverage?: Pick<CoverageSampler, 'observe'> | undefined;
  /** True while other requests wait to be begun: idle workers are for them. */
  readonly othersWait: () => boolean;
  /** Explains scores; undefined where nobody reads an explanation. */
  readonly explainer?: Explainer | undefined;
}

/** Creates a ranker. */
export function createRanker(parts: RankerParts): Ranker {
  const { bundles } = parts;
  return {
    async rank(query, limits) {
      const served = servedBy(bundles, query);
      const release = bundles.hold(served.bundle);
      try {
        return await rankBy(served, parts, query, limits);
      } finally {
        release();
      }
    },
  };
}

/** A bundle that answers, and why. */
interface Served extends Pick<RankAnswer, 'servedAs' | 'canaryShareBp'> {
  readonly bundle: LoadedBundle;
}

function servedBy(bundles: RankerParts['bundles'], { bundleId, userId }: RankQuery): Served {
  if (bundleId !== '') return { bundle: bundles.get(bundleId), servedAs: 'pinned', canaryShareBp: 0 };
  const serving = bundles.serving(userId);
  return { ...serving, servedAs: serving.canaryShareBp > 0 ? 'canary' : 'active' };
}

async function rankBy(
  { bundle, servedAs, canaryShareBp }: Served,
  { records, poolRows, partCandidates, coverage, othersWait, explainer }: RankerParts,
  query: RankQuery,
  limits: RankLimits,
): Promise<RankAnswer> {
  const stopwatch = createStopwatch();
  const { historyPolicy } = query;
  const reading = readHistory({ records, bundle, query, limits, stopwatch });
  const candidates = whileReading(reading, () => candidatesOf(bundle.model, query));
  const { rows, ...history } = await reading;
  if (limits.ended) throw limits.ended; // assembling would be in vain
  const attended = await attend({
    bundle,
    rows,
    candidates,
    historyPolicy,
    poolRows,
    partCandidates: othersWait() ? 0 : partCandidates,
    alone: query.captureId !== '', // a replay repeats this run
    limits,
    stopwatch,
  });
  const missing = attended.missing ?? history.missing;
  coverage?.observe({ userId: query.userId, bundle, recordPositionCount: history.record?.positionCount ?? 0 });
  const answer: RankAnswer = {
    scores: attended.scores,
    order: orderOf(attended.scores, query.topK),
    bundleId: bundle.model.id,
    encodingId: bundle.model.encodingId,
    servedAs,
    canaryShareBp,
    positionCount: attended.positionCount,
    mergedCount: attended.positionCount === 0 ? 0 : history.mergedCount,
    unknownCandidateCount: candidates.unknownCount,
    recordAgeMs: history.ageMs,
    lastEventMs: history.record?.lastEventMs ?? 0,
    coldUser: !history.record && !missing && historyPolicy !== 'ignored',
    rung: rungOf(historyPolicy, missing, attended.positionCount),
    rungReason: missing ?? '',
    partCount: attended.partCount,
    timings: stopwatch.finish(),
    basis: {
      bundle,
      query,
      candidates,
      recordBytes: history.bytes,
      recordMissing: history.missing,
      rows: attended.missing ? rows.subarray(0, 0) : rows,
      rowsMissing: attended.missing,
    },
    capture: query.captureId === '' ? 'none' : 'off',
  };
  if (!query.explain || !explainer) return answer;
  const explained = { bundle, rows: answer.basis.rows, candidates, scores: answer.scores, limits };
  return { ...answer, explanation: await explainer.explain(explained) };
}

/** Returns the result of `work`, done while the history is read. If `work` throws, nobody waits for the history. */
function whileReading<T>(reading: Promise<unknown>, work: () => T): T {
  try {
    return work();
  } catch (error) {
    reading.catch(() => undefined);
    throw error;
  }
}
