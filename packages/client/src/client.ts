import { createHash } from 'node:crypto';
import type { RankRequest } from '@collectivekv/contracts';
import {
  CkvError,
  invalidRequest,
  LIMITS,
  parseForgotten,
  parseId,
  parseReceiptId,
  type Reason,
  steadyNowMs,
  toCkvError,
  WHOLE_RECEIPT_ID,
} from '@collectivekv/domain';
import { createGrpcClient } from '@collectivekv/rpc';
import { nameOf } from './checks.js';
import {
  type CallOptions,
  type ClientOptions,
  checkCallOptions,
  checkClientOptions,
  checkErasureOptions,
  checkRecordOptions,
  type ErasureOptions,
  type RecordOptions,
} from './client-options.js';
import { createErasureCalls, type ErasureCall } from './erasure-calls.js';
import { checkInteractionFields, completeInteraction, rankingOf, rankRequestOf } from './rank-codec.js';
import type { InteractionInput, RankInput, Ranking } from './rank-messages.js';
import type { Receipt } from './receipt.js';
import { type Attempt, withRetries } from './retry.js';
import { createRetryBudget } from './retry-budget.js';
import { inCallersWords, type Sent } from './wire-fields.js';

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
   * order has no further effect for a minute, and until a user has had 14 newer events. It has none for an hour if the
   * call has an idempotency key, more than 14 interactions of one user, or more than 1,000 in all.
   * @returns the event ids, given or generated, in order
   */
  recordInteractions(interactions: readonly InteractionInput[], options?: RecordOptions): Promise<string[]>;
  /**
   * Enqueues the removal of an interaction. If you also pass its item, action and features, it is found at any age,
   * unless the bundle encodes with history.
   * @returns the receipt, which is pending unless `wait` is set
   */
  forgetInteraction(
    interaction: { eventId: string; userId: string } & Partial<InteractionInput>,
    options?: ErasureOptions,
  ): Promise<Receipt>;
  /**
   * Enqueues the deletion of a user. Everything enqueued before it is deleted, and everything enqueued after it begins
   * a new history. The exception is a delayed or prioritised job of a foreign sender that still waits at the
   * deletion's turn: it is deleted, also if it was sent after the deletion.
   * @returns the receipt, which is pending unless `wait` is set
   */
  deleteUser(userId: string, options?: ErasureOptions): Promise<Receipt>;
  /**
   * Returns a receipt as it is now.
   * @throws receipt_not_found if no receipt has this id, or it has expired
   */
  getReceipt(receiptId: string, options?: CallOptions): Promise<Receipt>;
  /** Ends the connections. Calls that start afterwards fail with `cancelled`. */
  close(): void;
}

/**
 * Creates a client. It connects with the first call. Calls take turns on all addresses of a target.
 * @throws invalid_request if an option is unknown or wrong, or a file of the options cannot be used
 */
export function createCollectiveKvClient(options: ClientOptions = {}): CollectiveKvClient {
  checkClientOptions(options);
  const to = (option: 'rankingTarget' | 'interactionTarget') => {
    const { optionNames } = options;
    return { ...options, optionNames: { ...optionNames, target: optionNames?.[option] ?? option } };
  };
  const { rankingTarget = '127.0.0.1:50053', interactionTarget = '127.0.0.1:50054' } = options;
  const ranking = createGrpcClient('RankingService', rankingTarget, to('rankingTarget'));
  const updater = createGrpcClient('InteractionService', interactionTarget, to('interactionTarget'));
  const ofRanking = { budget: createRetryBudget() };
  const ofUpdater = { budget: createRetryBudget() };
  const limitsOf = ({ timeoutMs, signal }: CallOptions, defaultMs: number) => ({
    deadlineMs: steadyNowMs() + (timeoutMs ?? defaultMs),
    maxAttempts: options.maxAttempts ?? 4,
    ...(signal ? { signal } : {}),
  });
  const mayDouble = () => ofRanking.budget.take('afterFailure');
  const erasures = createErasureCalls(updater);
  function erasureOf(options: ErasureOptions): ErasureCall {
    checkErasureOptions(options);
    const { receiptId, wait = false, ...call } = options;
    return { limits: { ...limitsOf(call, recordMs), ...ofUpdater }, receiptId, wait };
  }
  const { rankStreams = true } = options;
  const rankMs = options.rankTimeoutMs ?? 1_000;
  const recordMs = options.recordTimeoutMs ?? 10_000;

  return {
    async rank(input, call = {}) {
      checkCallOptions(call);
      const limits = { ...limitsOf(call, rankMs), ...ofRanking };
      const request = rankRequestOf(input);
      const candidateIds = [...input.candidateIds]; // the caller's list may change
      const rank = ({ deadlineMs, again }: Attempt) => {
        const bounds = { ...limits, deadlineMs };
        return rankStreams
          ? ranking.callOnStream('RankStream', request, { ...bounds, mayDouble: again ? mayDouble : undefined })
          : ranking.call('Rank', request, bounds);
      };
      return rankingOf(candidateIds, await withRetries(limits, rank).catch(inWordsOf(sentIn(input))));
    },

    async rankMany(inputs, call = {}) {
      checkCallOptions(call);
      const limits = { ...limitsOf(call, rankMs), ...ofRanking };
      const asked = listOf(inputs, 'inputs').map((input, i) => requestOrError(input, `inputs[${i}].`));
      const requests = asked.flatMap((one) => (one instanceof CkvError ? [] : [one.request]));
      if (inputs.length > 0 && requests.length === 0) return asked as CkvError[];
      const { outcomes } = await withRetries(limits, ({ deadlineMs }) =>
        ranking.call('RankMany', { requests }, { ...limits, deadlineMs }),
      ).catch(inWordsOf({ inPlaceOf: { wire: /^requests(?!\[)/, caller: () => 'inputs' } }));
      const next = outcomes.values();
      return asked.map((one) => {
        if (one instanceof CkvError) return one;
        const { response, failure } = next.next().value ?? {};
        if (response) return rankingOf(one.candidateIds, response);
        const { reason, message } = failure ?? { reason: 'bug', message: 'no outcome' };
        return inCallersWords(new CkvError(reason as Reason, message), one.sent);
      });
    },

    async recordInteractions(inputs, call = {}) {
      checkRecordOptions(call);
      const limits = { ...limitsOf(call, recordMs), ...ofUpdater };
      const { idempotencyKey: key = '' } = call;
      const interactions = listOf(inputs, 'interactions').map((input, i) =>
        completeInteraction(input, `interactions[${i}]`, key === '' ? undefined : () => keyedEventId(key, i, input)),
      );
      const eventIds = interactions.map(({ eventId }) => eventId);
      const split = interactions.length > LIMITS.recordInteractions;
      const idempotencyKey = key === '' && split ? digestOf(eventIds) : key;
      for (let from = 0; from < interactions.length; from += LIMITS.recordInteractions) {
        const batch = interactions.slice(from, from + LIMITS.recordInteractions);
        await withRetries(limits, ({ deadlineMs }) =>
          updater.call('Record', { interactions: batch, idempotencyKey }, { ...limits, deadlineMs }),
        ).catch(
          inWordsOf({ inPlaceOf: { wire: /^interactions\[(\d+)\]/, caller: (i) => `interactions[${from + i}]` } }),
        );
      }
      return eventIds;
    },

    async forgetInteraction(input, options = {}) {
      checkInteractionFields(input, 'interaction');
      return erasures.forget(parseForgotten(input, 'interaction'), erasureOf(options)).catch(inWordsOf({}));
    },

    async deleteUser(userId, options = {}) {
      parseId(userId, 'userId', LIMITS.idBytes);
      return erasures.deleteUser(userId, erasureOf(options)).catch(inWordsOf({}));
    },

    async getReceipt(receiptId, call = {}) {
      checkCallOptions(call);
      parseReceiptId(receiptId, 'receiptId', WHOLE_RECEIPT_ID);
      return erasures.getReceipt(receiptId, { ...limitsOf(call, recordMs), ...ofUpdater }).catch(inWordsOf({}));
    },

    close() {
      ranking.close();
      updater.close();
    },
  };
}

/** A request, and the candidates that its answer is about. The caller's list may change. */
interface Asked {
  readonly request: RankRequest;
  readonly candidateIds: readonly string[];
  readonly sent: Sent;
}

function requestOrError(input: RankInput, path: string): Asked | CkvError {
  try {
    const place = path.slice(0, -1);
    const sent = { ...sentIn(input), inPlaceOf: { wire: /^requests\[\d+\]/, caller: () => place } };
    return { request: rankRequestOf(input, path), candidateIds: [...input.candidateIds], sent };
  } catch (error) {
    return toCkvError(error);
  }
}

/** Throws a failure again, with the caller's names of the fields. */
function inWordsOf(sent: Sent): (thrown: unknown) => never {
  return (thrown) => {
    throw inCallersWords(toCkvError(thrown), sent);
  };
}

function sentIn({ candidateFeatures = {}, contextFeatures = {} }: RankInput): Sent {
  return { candidateFeatures: Object.keys(candidateFeatures), contextFeatures: Object.keys(contextFeatures) };
}

function listOf<T>(values: readonly T[], field: string): T[] {
  if (!Array.isArray(values)) throw invalidRequest(field, `is ${nameOf(values)}, not an array`, 'send an array');
  return Array.from(values); // a hole becomes undefined, which is refused
}

/**
 * Returns an event id that a repeated call gives again. Another list under the same key gets other ids: it is not lost.
 */
function keyedEventId(key: string, place: number, { userId, itemId, action = '' }: InteractionInput): string {
  return digestOf([key, String(place), userId, itemId, action]);
}

/** Returns 32 characters that tell lists of texts apart. */
function digestOf(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  return hash.digest('hex').slice(0, 32);
}
