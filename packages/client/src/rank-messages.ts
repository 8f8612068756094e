import type { RankInfo__Output } from '@collectivekv/contracts';
import type { Explanation } from './explanation.js';

/** An interaction as a backend knows it. Absent fields get defaults. Bounds: interaction.proto. */
export interface InteractionInput {
  /** Names the event: an event takes effect once. Default: a random UUID. */
  readonly eventId?: string;
  readonly userId: string;
  readonly itemId: string;
  /** Unix ms. Default: now. */
  readonly timestampMs?: number;
  readonly action?: string;
  readonly features?: Readonly<Record<string, number>>;
}

/** A request to rank. Bounds and defaults: ranking.proto. */
export interface RankInput {
  readonly userId: string;
  readonly candidateIds: readonly string[];
  /** Candidate features by name, one value for each candidate. An absent feature gets the bundle's default. */
  readonly candidateFeatures?: Readonly<Record<string, ArrayLike<number>>>;
  /** Context features by name. An absent feature gets the bundle's default. */
  readonly contextFeatures?: Readonly<Record<string, number>>;
  /** The user's latest interactions, which may not be in the record yet. At most 100. */
  readonly recentInteractions?: readonly Omit<InteractionInput, 'userId'>[];
  /** Oldest copy of the record that may be used, ms. Default 0: the record is read for this request. */
  readonly maxStalenessMs?: number;
  /** Count of candidates in `ranked`, best first. Default 0: all. */
  readonly topK?: number;
  /** Id of the bundle to serve by. Default: the active bundle. */
  readonly bundleId?: string;
  /** What to do with the user's history: HistoryPolicy in ranking.proto. Default `preferred`. */
  readonly history?: 'preferred' | 'required' | 'ignored';
  /** Captures the request under this id, for `ckv replay`: capture_id in ranking.proto. Default: no capture. */
  readonly captureId?: string;
  /** True also explains the scores. At most 10 candidates then, and not in `rankMany`. Default false. */
  readonly explain?: boolean;
}

/** {@link InteractionInput} by the name that the proto has. */
export type Interaction = InteractionInput;

/** {@link RankInput} by the name that the proto has. */
export type RankRequest = RankInput;

/** How an answer was made: RankInfo in ranking.proto. */
export type RankDetails = Omit<RankInfo__Output, 'rung' | 'capture'> & {
  readonly rung: 'full' | 'recent_only' | 'no_history';
  /** What became of the capture: CaptureOutcome in ranking.proto. */
  readonly capture: 'none' | 'taken' | 'off' | 'full' | 'busy' | 'id_used' | 'erased';
};

/** A candidate with its score. */
export interface RankedItem {
  readonly itemId: string;
  readonly score: number;
}

/** An answer to a rank request. */
export interface Ranking {
  /** One score for each candidate, in the request's order. */
  readonly scores: Float32Array; // [candidates]
  /** Candidates with their scores, best first. Made at the first use. */
  readonly ranked: readonly RankedItem[];
  readonly info: RankDetails;
  /** What the scores depend on. Undefined unless the request says `explain`. */
  readonly explanation?: Explanation;
}
