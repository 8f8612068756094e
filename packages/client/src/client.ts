import { createHash } from 'node:crypto';
import { CkvError, LIMITS, type Reason, steadyNowMs } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClientOptions } from '@collectivekv/rpc';
import { createEarlyEnds } from './early-ends.js';
import { completeInteraction, rankingOf, rankRequestOf } from './rank-codec.js';
import type { InteractionInput, RankInput, Ranking } from './rank-messages.js';
import { type Attempt, withRetries } from './retry.js';

/** Options of {@link createCollectiveKvClient}. */
export interface ClientOptions extends GrpcClientOptions {
  /** gRPC target of the ranking service. Join several addresses with commas. Default 127.0.0.1:50053. */
  readonly rankingTarget?: string;
  /** gRPC target of the updater service. Join several addresses with commas. Default 127.0.0.1:50054. */
  readonly interactionTarget?: string;
  /** Longest time for a rank call with its retries, ms. Default 1,000. */
  readonly rankTimeoutMs?: number;
  /** Longest time to record or forget, with retries, ms. Default 10,000. */
  readonly recordTimeoutMs?: number;
  /** Most tries of a call, the first included. Default 4. */
  readonly maxAttempts?: number;
  /**
   * True: rank requests share streams that stay open for about a second. That costs both sides less than a call for
   * each request. Set it to false if a proxy on the way cannot carry such streams. Default true.
   */
  readonly rankStreams?: boolean;
}

/** Limits of one call. */
export interface CallOptions {
  /** Longest time for the call with its retries, ms. Default: the client's time. */
  readonly timeoutMs?: number;
  /** Ends the call when it aborts. One signal may end many calls: the client removes the signal's limit on listeners. */
  readonly signal?: AbortSignal;
}

/** Options of {@link CollectiveKvClient.recordInteractions}. */
export interface RecordOptions extends CallOptions {
  /**
   * Names the call, at most 128 bytes: calling again with the same key and list within an hour has no further effect.
   * An interaction without an event id gets one made of the key, its place in the list, its user, item and action: the
   * same in every such call.
   * Default: a key made of the event ids if the list has more than 1,000 interactions, else none.
   */
  readonly idempotencyKey?: string;
}

/**
 * Client of a feed backend: it ranks, and records interactions. Every failure is a CkvError. Transient errors are
 * retried within the deadline.
 */
export interface CollectiveKvClient {
  /** Ranks candidates for a user. */
  rank(input: RankInput, options?: CallOptions): Promise<Ranking>;
  /** Ranks for several users in one call. If a request fails, its entry is a CkvError. */
  rankMany(inputs: readonly RankInput[], options?: CallOptions): Promise<(Ranking | CkvError)[]>;
  /**
   * Enqueues interactions. Resolves when the queue holds them all. Calling again with the same event ids in the same
   * order has no further effect until a user has had 14 newer events. It has none for an hour if the call has an
   * idempotency key, more than 14 interactions of one user, or more than 1,000 in all.
   * @returns the event ids, given or generated, in order
   */
  recordInteractions(interactions: readonly InteractionInput[], options?: RecordOptions): Promise<string[]>;
  /**
   * Enqueues the removal of an interaction. If you also pass its item, action and features, it is found at any age,
   * unless the bundle encodes with history.
   */
  forgetInteraction(
    interaction: { eventId: string; userId: string } & Partial<InteractionInput>,
    options?: CallOptions,
  ): Promise<void>;
  /** Ends the connections. Calls that start afterwards fail with `cancelled`. */
  close(): void;
}

/**
 * Creates a client. It connects with the first call. Calls take turns on all addresses of a target.
 * @throws invalid_request if a file of the options cannot be used
 */
export function createCollectiveKvClient(options: ClientOptions = {}): CollectiveKvClient {
  const ranking = createGrpcClient('RankingService', options.rankingTarget ?? '127.0.0.1:50053', options);
  const updater = createGrpcClient('InteractionService', options.interactionTarget ?? '127.0.0.1:50054', options);
  const [rankEnds, recordEnds] = [createEarlyEnds(), createEarlyEnds()];
  const limitsOf = ({ timeoutMs, signal }: CallOptions, defaultMs: number) => ({
    deadlineMs: steadyNowMs() + (timeoutMs ?? defaultMs),
    maxAttempts: options.maxAttempts ?? 4,
    ...(signal ? { signal } : {}),
  });
  const { rankStreams = true } = options;
  const rankMs = options.rankTimeoutMs ?? 1_000;
  const recordMs = options.recordTimeoutMs ?? 10_000;

  return {
    async rank(input, call = {}) {
      const limits = { ...limitsOf(call, rankMs), earlyEnds: rankEnds };
      const candidateIds = [...input.candidateIds]; // the caller's list may change
      const request = rankRequestOf({ ...input, candidateIds });
      const rank = ({ deadlineMs, again }: Attempt) => {
        const bounds = { ...limits, deadlineMs };
        return rankStreams
          ? ranking.callOnStream('RankStream', request, { ...bounds, again })
          : ranking.call('Rank', request, bounds);
      };
      return rankingOf(candidateIds, await withRetries(limits, rank));
    },

    async rankMany(inputs, call = {}) {
      const limits = { ...limitsOf(call, rankMs), earlyEnds: rankEnds };
      const copies = inputs.map((input) => ({ ...input, candidateIds: [...input.candidateIds] }));
      const requests = copies.map(rankRequestOf);
      const { outcomes } = await withRetries(limits, ({ deadlineMs }) =>
        ranking.call('RankMany', { requests }, { ...limits, deadlineMs }),
      );
      return copies.map(({ candidateIds }, i) => {
        const outcome = outcomes[i];
        if (outcome?.response) return rankingOf(candidateIds, outcome.response);
        const { reason, message } = outcome?.failure ?? { reason: 'bug', message: 'no outcome' };
        return new CkvError(reason as Reason, message);
      });
    },

    async recordInteractions(inputs, call = {}) {
      const limits = { ...limitsOf(call, recordMs), earlyEnds: recordEnds };
      const { idempotencyKey: key = '' } = call;
      const interactions = inputs.map((input, i) =>
        completeInteraction(input, key === '' ? undefined : () => keyedEventId(key, i, input)),
      );
      const eventIds = interactions.map(({ eventId }) => eventId);
      const split = interactions.length > LIMITS.recordInteractions;
      const idempotencyKey = key === '' && split ? digestOf(eventIds) : key;
      for (let from = 0; from < interactions.length; from += LIMITS.recordInteractions) {
        const batch = interactions.slice(from, from + LIMITS.recordInteractions);
        await withRetries(limits, ({ deadlineMs }) =>
          updater.call('Record', { interactions: batch, idempotencyKey }, { ...limits, deadlineMs }),
        );
      }
      return eventIds;
    },

    async forgetInteraction(input, call = {}) {
      const limits = { ...limitsOf(call, recordMs), earlyEnds: recordEnds };
      const interaction = { timestampMs: 0, action: '', itemId: '', features: {}, ...input };
      await withRetries(limits, ({ deadlineMs }) => updater.call('Forget', { interaction }, { ...limits, deadlineMs }));
    },

    close() {
      ranking.close();
      updater.close();
    },
  };
}

/** Returns an event id that a repeated call gives again. Another list under the same key gets other ids: it is not lost. */
function keyedEventId(key: string, place: number, { userId, itemId, action = '' }: InteractionInput): string {
  return digestOf([key, String(place), userId, itemId, action]);
}

/** Returns 32 characters that tell lists of texts apart. */
function digestOf(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  return hash.digest('hex').slice(0, 32);
}
