import { CkvError, LIMITS, type Reason } from '@collectivekv/domain';
import { createGrpcClient } from '@collectivekv/rpc';
import { completeInteraction, rankingOf, rankRequestOf } from './rank-codec.js';
import type { InteractionInput, RankInput, Ranking } from './rank-messages.js';
import { withRetries } from './retry.js';

/** Options of {@link createCollectiveKvClient}. */
export interface ClientOptions {
  /** gRPC target of the ranking service; several addresses may be joined by commas. Default 127.0.0.1:50053. */
  readonly rankingTarget?: string;
  /** gRPC target of the updater service. Default 127.0.0.1:50054. */
  readonly interactionTarget?: string;
  /** Bearer token, where the services ask for one. */
  readonly token?: string;
  /** Authority (PEM file) by which the services are trusted; turns TLS on. */
  readonly tlsCaFile?: string;
  /** Time that a rank call may take, retries included. Default 1,000 ms. */
  readonly rankTimeoutMs?: number;
  /** Time that recording may take, retries included. Default 10,000 ms. */
  readonly recordTimeoutMs?: number;
  /** Tries of a call. Default 4. */
  readonly maxAttempts?: number;
  /**
   * Rank requests share streams that stay open for about a second, which costs both sides less than a call each. False
   * makes each a call of its own, where something between cannot carry such streams. Default true.
   */
  readonly rankStreams?: boolean;
}

/** Bounds of one call. */
export interface CallOptions {
  /** Overrides the client's. */
  readonly timeoutMs?: number;
  /** May end many calls: its bound of listeners is lifted. */
  readonly signal?: AbortSignal;
}

/** What a feed backend needs: both doors. Failures are CkvErrors; what may pass is retried within the deadline. */
export interface CollectiveKvClient {
  /** Ranks candidates for a user. */
  rank(input: RankInput, options?: CallOptions): Promise<Ranking>;
  /** Ranks for several users; an entry that cannot be answered is the error. */
  rankMany(inputs: readonly RankInput[], options?: CallOptions): Promise<(Ranking | CkvError)[]>;
  /**
   * Queues interactions; resolves when the queue holds them all. Retries are idempotent by event id.
   * @returns the event ids, given or generated, in order
   */
  recordInteractions(interactions: readonly InteractionInput[], options?: CallOptions): Promise<string[]>;
  /**
   * Queues the removal of an interaction; with its item and features it is found however old it is, unless the bundle
   * encodes with history.
   */
  forgetInteraction(
    interaction: { eventId: string; userId: string } & Partial<InteractionInput>,
    options?: CallOptions,
  ): Promise<void>;
  close(): void;
}

/** Connects lazily; calls go round all addresses of a target. */
export function createCollectiveKvClient(options: ClientOptions = {}): CollectiveKvClient {
  const ranking = createGrpcClient('RankingService', options.rankingTarget ?? '127.0.0.1:50053', options);
  const updater = createGrpcClient('InteractionService', options.interactionTarget ?? '127.0.0.1:50054', options);
  const limitsOf = ({ timeoutMs, signal }: CallOptions, defaultMs: number) => ({
    deadlineMs: Date.now() + (timeoutMs ?? defaultMs),
    maxAttempts: options.maxAttempts ?? 4,
    ...(signal ? { signal } : {}),
  });
  const { rankStreams = true } = options;
  const rankMs = options.rankTimeoutMs ?? 1_000;
  const recordMs = options.recordTimeoutMs ?? 10_000;

  return {
    async rank(input, call = {}) {
      const limits = limitsOf(call, rankMs);
      const candidateIds = [...input.candidateIds]; // the caller's list may change
      const request = rankRequestOf({ ...input, candidateIds });
      const rank = () =>
        rankStreams ? ranking.callOnStream('RankStream', request, limits) : ranking.call('Rank', request, limits);
      return rankingOf(candidateIds, await withRetries(limits, rank));
    },

    async rankMany(inputs, call = {}) {
      const limits = limitsOf(call, rankMs);
      const copies = inputs.map((input) => ({ ...input, candidateIds: [...input.candidateIds] }));
      const requests = copies.map(rankRequestOf);
      const { outcomes } = await withRetries(limits, () => ranking.call('RankMany', { requests }, limits));
      return copies.map(({ candidateIds }, i) => {
        const outcome = outcomes[i];
        if (outcome?.response) return rankingOf(candidateIds, outcome.response);
        const { reason, message } = outcome?.failure ?? { reason: 'bug', message: 'no outcome' };
        return new CkvError(reason as Reason, message);
      });
    },

    async recordInteractions(inputs, call = {}) {
      const limits = limitsOf(call, recordMs);
      const interactions = inputs.map(completeInteraction);
      for (let from = 0; from < interactions.length; from += LIMITS.recordInteractions) {
        const batch = interactions.slice(from, from + LIMITS.recordInteractions);
        await withRetries(limits, () => updater.call('Record', { interactions: batch }, limits));
      }
      return interactions.map(({ eventId }) => eventId);
    },

    async forgetInteraction(input, call = {}) {
      const limits = limitsOf(call, recordMs);
      const interaction = { timestampMs: 0, action: '', itemId: '', features: {}, ...input };
      await withRetries(limits, () => updater.call('Forget', { interaction }, limits));
    },

    close() {
      ranking.close();
      updater.close();
    },
  };
}
