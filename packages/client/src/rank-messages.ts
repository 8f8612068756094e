import type { RankInfo__Output, RankRequest, RankResponse__Output } from '@collectivekv/contracts';
import type { Interaction } from '@collectivekv/domain';

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

/** A ranking. */
export interface Ranking {
  /** One a candidate, in the request's order. */
  readonly scores: Float32Array; // [candidates]
  /** Best first. */
  readonly ranked: readonly { readonly itemId: string; readonly score: number }[];
  readonly info: RankDetails;
}

/** An interaction with its blanks filled in. */
export function completeInteraction(input: InteractionInput): Interaction {
  return {
    eventId: input.eventId ?? crypto.randomUUID(),
    userId: input.userId,
    itemId: input.itemId,
    timestampMs: input.timestampMs ?? Date.now(),
    action: input.action ?? '',
    features: input.features ?? {},
  };
}

const POLICIES = {
  preferred: 'HISTORY_POLICY_PREFERRED',
  required: 'HISTORY_POLICY_REQUIRED',
  ignored: 'HISTORY_POLICY_IGNORED',
} as const;

/** The message for a request. */
export function rankRequestOf(input: RankInput): RankRequest {
  const column = ([name, values]: [string, ArrayLike<number>]) => ({ name, values: packedFloats(values) });
  return {
    userId: input.userId,
    candidateIds: [...input.candidateIds],
    candidateFeatures: Object.entries(input.candidateFeatures ?? {}).map(column),
    contextFeatures: Object.entries(input.contextFeatures ?? {}).map(([name, value]) => column([name, [value]])),
    recentInteractions: (input.recentInteractions ?? []).map((recent) =>
      completeInteraction({ ...recent, userId: input.userId }),
    ),
    maxStalenessMs: input.maxStalenessMs ?? 0,
    topK: input.topK ?? 0,
    bundleId: input.bundleId ?? '',
    historyPolicy: POLICIES[input.history ?? 'preferred'],
  };
}

const RUNGS: Record<string, RankDetails['rung']> = {
  DEGRADATION_RUNG_FULL: 'full',
  DEGRADATION_RUNG_RECENT_ONLY: 'recent_only',
  DEGRADATION_RUNG_NO_HISTORY: 'no_history',
};

/** The ranking of a response. */
export function rankingOf(input: RankInput, response: RankResponse__Output): Ranking {
  const scores = new Float32Array(Uint8Array.from(response.scores).buffer);
  const order = new Uint32Array(Uint8Array.from(response.order).buffer);
  const info = response.info as RankInfo__Output; // every answer has one
  return {
    scores,
    ranked: Array.from(order, (i) => ({ itemId: input.candidateIds[i] ?? '', score: scores[i] ?? 0 })),
    info: { ...info, rung: RUNGS[info.rung] ?? 'no_history' },
  };
}

function packedFloats(values: ArrayLike<number>): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}
