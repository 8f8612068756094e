import type { RankInfo__Output } from '@collectivekv/contracts';

/** An interaction as a backend knows it; what is left out is filled in. */
export interface InteractionInput {
  /** Names the event, for idempotency. Default: a random UUID. */
  readonly eventId?: string;
  readonly userId: string;
  readonly itemId: string;
  /** Unix ms. Default: now. */
  readonly timestampMs?: number;
  readonly action?: string;
  readonly features?: Readonly<Record<string, number>>;
}

/** What to rank. Bounds and defaults: ranking.proto. */
export interface RankInput {
  readonly userId: string;
  readonly candidateIds: readonly string[];
  /** Candidate features by name, one value for each candidate. */
  readonly candidateFeatures?: Readonly<Record<string, ArrayLike<number>>>;
  /** Context features by name. */
  readonly contextFeatures?: Readonly<Record<string, number>>;
  /** This user's latest interactions, which may not be in the record yet. */
  readonly recentInteractions?: readonly Omit<InteractionInput, 'userId'>[];
  /** Allows a copy of the record so old, ms. */
  readonly maxStalenessMs?: number;
  /** Only the best so many are in `ranked`. */
  readonly topK?: number;
  /** Pins a bundle. */
  readonly bundleId?: string;
  /** Default: preferred. */
  readonly history?: 'preferred' | 'required' | 'ignored';
}

/** How an answer came about; see RankInfo in ranking.proto. */
export type RankDetails = Omit<RankInfo__Output, 'rung'> & { readonly rung: 'full' | 'recent_only' | 'no_history' };

/** A candidate with its score. */
export interface RankedItem {
  readonly itemId: string;
  readonly score: number;
}

/** A ranking. */
export interface Ranking {
  /** One a candidate, in the request's order. */
  readonly scores: Float32Array; // [candidates]
  /** Best first. Made when first asked for. */
  readonly ranked: readonly RankedItem[];
  readonly info: RankDetails;
}
