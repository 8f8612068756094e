import type {
  FeatureColumn__Output,
  RankInfo,
  RankManyRequest__Output,
  RankManyResponse,
  RankOutcome,
  RankRequest__Output,
  RankResponse,
} from '@collectivekv/contracts';
import {
  type CkvError,
  counted,
  invalidRequest,
  LIMITS,
  parseId,
  parseInteraction,
  toCkvError,
} from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import { type PackedIds, packIds, readIds } from '@collectivekv/rpc';
import type { Admission, CallContext } from '@collectivekv/rpc/server';
import type { Logger } from '@collectivekv/service-kit';
import { noteInSpan } from '@collectivekv/tracing';
import { CAPTURE_ID } from './capture/capture-folder.js';
import type { CaptureOutcome } from './capture/capture-outcome.js';
import { checkExplained } from './explanation/check-explained.js';
import { explanationMessage } from './explanation/explanation-message.js';
import type { RankingMetrics } from './metrics.js';
import { bytesOf, floatsFrom } from './packed.js';
import type { FeatureColumn, HistoryPolicy, RankQuery } from './rank-query.js';
import type { RankAnswer, Ranker } from './ranker.js';

/**
 * Requests of a RankMany that wait or are worked on at once: one caller must not fill the places for all. If users share
 * graph runs, they are as many as one run takes, up to a quarter of the places.
 */
const MANY_AT_ONCE = 16;

/** Parts of the handlers. */
export interface RankingParts {
  readonly ranker: Ranker;
  readonly metrics: RankingMetrics;
  /** Lets in each request of RankMany. */
  readonly admission: Pick<Admission, 'run' | 'full' | 'refuse'>;
  /** Requests that may wait to be begun. */
  readonly mostWaiting: number;
  /** Where scores are computed. */
  readonly engine: Pick<Engine, 'device' | 'precision' | 'mostUsers'>;
  readonly log: Logger;
}

/** Creates the handlers of RankingService: requests to queries, answers to responses. */
export function createRankingHandlers({ ranker, metrics, admission, mostWaiting, engine, log }: RankingParts) {
  async function answer(request: RankRequest__Output, at: string, call: CallContext): Promise<RankResponse> {
    const query = queryOf(request, at);
    if (query.explain) checkExplained(query, at, call);
    const answered = await ranker.rank(query, call);
    noteInSpan(() => ({
      'ckv.bundle_id': answered.bundleId,
      'ckv.encoding_id': answered.encodingId,
      'ckv.rung': answered.rung,
      'ckv.position_count': answered.positionCount,
      'ckv.candidate_count': query.candidateIds.length,
    }));
    setImmediate(() => metrics.observe(answered, query.candidateIds.length)); // after the response is on its way
    return responseOf(answered, engine);
  }

  /** Returns the answers and failures of a call's requests. After an overload, the rest fails without a try. */
  async function outcomesOf(requests: readonly RankRequest__Output[], call: CallContext): Promise<RankOutcome[]> {
    const outcomes: RankOutcome[] = [];
    const left = requests.entries();
    let overload: CkvError | undefined;
    const answerOne = async (request: RankRequest__Output, at: string) => {
      if (!overload && admission.full) overload = admission.refuse(); // once: it was one call
      if (overload) throw overload;
      return { response: await admission.run(call, () => answer(request, at, call)) };
    };
    const lane = async () => {
      for (const [i, request] of left) {
        outcomes[i] = await answerOne(request, `requests[${i}].`).catch((thrown: unknown) => {
          const error = toCkvError(thrown);
          if (error.reason === 'overloaded') overload = error;
          return failureOf(error);
        });
      }
    };
    const ofARun = Math.min(engine.mostUsers, Math.floor(mostWaiting / 4));
    await Promise.all(Array.from({ length: Math.max(MANY_AT_ONCE, ofARun) }, lane));
    return outcomes;
  }

  function failureOf({ reason, message, cause }: CkvError): RankOutcome {
    if (reason === 'bug') log.error({ rpc: 'RankingService/RankMany', err: cause }, 'a request of RankMany failed');
    return { failure: { reason, message } };
  }

  const Rank = (request: RankRequest__Output, call: CallContext) => answer(request, '', call);

  return {
    Rank,
    RankStream: Rank,

    async RankMany({ requests }: RankManyRequest__Output, call: CallContext): Promise<RankManyResponse> {
      checkCount('requests', requests.length, 1, LIMITS.rankManyRequests);
      return { outcomes: await outcomesOf(requests, call) };
    },
  };
}

const POLICIES: Record<string, HistoryPolicy> = {
  HISTORY_POLICY_UNSPECIFIED: 'preferred',
  HISTORY_POLICY_PREFERRED: 'preferred',
  HISTORY_POLICY_REQUIRED: 'required',
  HISTORY_POLICY_IGNORED: 'ignored',
};

/** Reads a request and checks the limits that all bundles share. `at` is the prefix of field names in errors. */
function queryOf(request: RankRequest__Output, at: string): RankQuery {
  const userId = parseId(request.userId, `${at}user_id`, LIMITS.idBytes);
  const candidateIds = candidateIdsOf(request, at);
  const { recentInteractions, maxStalenessMs, topK, bundleId, captureId } = request;
  for (let i = 0; i < candidateIds.length; i++) {
    const bytes = candidateIds.to(i) - candidateIds.from(i);
    if (bytes === 0 || bytes > LIMITS.idBytes) parseId(candidateIds.at(i), `${at}candidate_ids[${i}]`, LIMITS.idBytes);
  }
  checkCount(`${at}recent_interactions`, recentInteractions.length, 0, LIMITS.recentInteractions);
  const recent = recentInteractions.map((raw, i) => {
    const interaction = parseInteraction(raw, `${at}recent_interactions[${i}]`);
    if (interaction.userId === userId) return interaction;
    throw invalidRequest(
      `${at}recent_interactions[${i}].userId`,
      'is not user_id',
      "send this user's interactions only",
    );
  });
  if (maxStalenessMs > LIMITS.maxStalenessMs) {
    throw invalidRequest(
      `${at}max_staleness_ms`,
      `is ${maxStalenessMs}, at most ${LIMITS.maxStalenessMs} is allowed`,
      'send 0 to read the record for this request',
    );
  }
  if (bundleId !== '' && !/^[0-9a-f]{16}$/.test(bundleId)) {
    throw invalidRequest(`${at}bundle_id`, 'is not 16 hexadecimal characters', 'leave it empty for the active bundle');
  }
  if (captureId !== '' && !CAPTURE_ID.test(captureId)) {
    const problem = 'is not 1 to 64 letters, digits, _ and -';
    throw invalidRequest(`${at}capture_id`, problem, 'leave it empty for no capture');
  }
  const historyPolicy = POLICIES[request.historyPolicy];
  if (!historyPolicy) throw invalidRequest(`${at}history_policy`, 'is not a known policy', 'leave it unset');
  return {
    userId,
    candidateIds,
    candidateFeatures: columnsOf(request.candidateFeatures, `${at}candidate_features`),
    contextFeatures: columnsOf(request.contextFeatures, `${at}context_features`),
    recentInteractions: recent,
    maxStalenessMs,
    topK,
    bundleId,
    historyPolicy,
    captureId,
    explain: request.explain,
  };
}

/** Reads the candidates' ids. Checks their number first, because reading too many would hold up the event loop. */
function candidateIdsOf(
  { candidateIds, candidateIdText, candidateIdLengths }: RankRequest__Output,
  at: string,
): PackedIds {
  if (candidateIdText.length === 0 && candidateIdLengths.length === 0) {
    checkCount(`${at}candidate_ids`, candidateIds.length, 1, LIMITS.candidates);
    return packIds(candidateIds, `${at}candidate_ids`);
  }
  if (candidateIds.length > 0) {
    throw invalidRequest(`${at}candidate_id_text`, 'is set together with candidate_ids', 'send only one of them');
  }
  const count = Math.ceil(candidateIdLengths.length / Uint32Array.BYTES_PER_ELEMENT);
  checkCount(`${at}candidate_id_lengths`, count, 1, LIMITS.candidates); // before millions of lengths are read
  return readIds({ text: candidateIdText, lengths: candidateIdLengths }, `${at}candidate_id_lengths`);
}

function columnsOf(columns: readonly FeatureColumn__Output[], field: string): FeatureColumn[] {
  checkCount(field, columns.length, 0, LIMITS.featureCount);
  return columns.map(({ name, values }, i) => {
    if (values.length % 4 !== 0) {
      throw invalidRequest(
        `${field}[${i}].values`,
        `has ${counted(values.length, 'byte')}, a multiple of 4 is required`,
        'send packed float32',
      );
    }
    return { name, values: floatsFrom(values) };
  });
}

function checkCount(field: string, count: number, min: number, max: number): void {
  if (count < min) throw invalidRequest(field, `has ${count} entries, ${min} or more are required`, 'send more');
  if (count > max) throw invalidRequest(field, `has ${count} entries, at most ${max} are allowed`, 'split the call');
}

const RUNGS = {
  full: 'DEGRADATION_RUNG_FULL',
  recent_only: 'DEGRADATION_RUNG_RECENT_ONLY',
  no_history: 'DEGRADATION_RUNG_NO_HISTORY',
} as const;

const CAPTURES = {
  none: 'CAPTURE_OUTCOME_UNSPECIFIED',
  taken: 'CAPTURE_OUTCOME_TAKEN',
  off: 'CAPTURE_OUTCOME_OFF',
  full: 'CAPTURE_OUTCOME_FULL',
  busy: 'CAPTURE_OUTCOME_BUSY',
  id_used: 'CAPTURE_OUTCOME_ID_USED',
  erased: 'CAPTURE_OUTCOME_ERASED',
} as const satisfies Record<CaptureOutcome, string>;

function responseOf(answer: RankAnswer, { device, precision }: RankingParts['engine']): RankResponse {
  const { timings } = answer;
  const info: RankInfo = {
    bundleId: answer.bundleId,
    encodingId: answer.encodingId,
    positionCount: answer.positionCount,
    mergedCount: answer.mergedCount,
    unknownCandidateCount: answer.unknownCandidateCount,
    recordAgeMs: Math.round(answer.recordAgeMs),
    lastEventMs: answer.lastEventMs,
    coldUser: answer.coldUser,
    rung: RUNGS[answer.rung],
    rungReason: answer.rungReason,
    canaryShareBp: answer.canaryShareBp,
    timings: {
      fetchUs: timings.fetch,
      encodeUs: timings.encode,
      gatherUs: timings.gather,
      assembleUs: timings.assemble,
      attendUs: timings.attend,
      totalUs: timings.total,
    },
    capture: CAPTURES[answer.capture],
    device,
    precision,
  };
  const explanation = answer.explanation && explanationMessage(answer.explanation);
  return { scores: bytesOf(answer.scores), order: bytesOf(answer.order), info, ...(explanation && { explanation }) };
}
