import type { RankInfo__Output, RankRequest, RankResponse__Output } from '@collectivekv/contracts';
import { type Interaction, parseInteraction } from '@collectivekv/domain';
import { packIds, writeIds } from '@collectivekv/rpc';
import { checkRankInput } from './checked-rank-input.js';
import { checkKeys } from './checks.js';
import { explanationOf } from './explanation-codec.js';
import { floatsOf } from './packed-numbers.js';
import type { InteractionInput, RankDetails, RankedItem, RankInput, Ranking } from './rank-messages.js';

const INTERACTION_FIELDS: Record<keyof InteractionInput, true> = {
  eventId: true,
  userId: true,
  itemId: true,
  timestampMs: true,
  action: true,
  features: true,
};

/**
 * Refuses fields that an interaction does not have: a misspelt one would be lost.
 * @throws invalid_request naming the field
 */
export function checkInteractionFields(input: unknown, path: string): void {
  checkKeys(input ?? {}, Object.keys(INTERACTION_FIELDS), `${path}.`);
}

/**
 * Returns an interaction with defaults in place of absent fields, checked as the service checks it.
 * @param path path of the interaction, for errors: `interactions[3]`
 * @param newEventId makes the event id if there is none; default: a random UUID
 * @throws invalid_request naming the field, the limit and the remedy
 */
export function completeInteraction(
  input: InteractionInput,
  path: string,
  newEventId: () => string = () => crypto.randomUUID(),
): Interaction {
  checkInteractionFields(input, path);
  const { eventId, timestampMs } = input ?? {};
  const complete = parseInteraction(
    { ...input, eventId: eventId ?? '-', timestampMs: timestampMs ?? Date.now() },
    path,
  );
  return eventId === undefined || eventId === null ? { ...complete, eventId: newEventId() } : complete;
}

const POLICIES = {
  preferred: 'HISTORY_POLICY_PREFERRED',
  required: 'HISTORY_POLICY_REQUIRED',
  ignored: 'HISTORY_POLICY_IGNORED',
} as const;

/**
 * Returns the message for a request.
 * @param path prefix of field names in errors: `inputs[3].`, or empty
 * @throws invalid_request naming the field, the limit and the remedy
 */
export function rankRequestOf(input: RankInput, path = ''): RankRequest {
  checkRankInput(input, path);
  const candidates = writeIds(packIds(input.candidateIds, `${path}candidateIds`));
  const column = ([name, values]: [string, ArrayLike<number>]) => ({ name, values: packedFloats(values) });
  return {
    userId: input.userId,
    candidateIdText: candidates.text,
    candidateIdLengths: candidates.lengths,
    candidateFeatures: Object.entries(input.candidateFeatures ?? {}).map(column),
    contextFeatures: Object.entries(input.contextFeatures ?? {}).map(([name, value]) => column([name, [value]])),
    recentInteractions: (input.recentInteractions ?? []).map((recent, i) =>
      completeInteraction({ ...recent, userId: input.userId }, `${path}recentInteractions[${i}]`),
    ),
    maxStalenessMs: input.maxStalenessMs ?? 0,
    topK: input.topK ?? 0,
    bundleId: input.bundleId ?? '',
    historyPolicy: POLICIES[input.history ?? 'preferred'],
    captureId: input.captureId ?? '',
    explain: input.explain ?? false,
  };
}

const RUNGS: Record<string, RankDetails['rung']> = {
  DEGRADATION_RUNG_FULL: 'full',
  DEGRADATION_RUNG_RECENT_ONLY: 'recent_only',
  DEGRADATION_RUNG_NO_HISTORY: 'no_history',
};

const CAPTURES: Record<string, RankDetails['capture']> = {
  CAPTURE_OUTCOME_TAKEN: 'taken',
  CAPTURE_OUTCOME_OFF: 'off',
  CAPTURE_OUTCOME_FULL: 'full',
  CAPTURE_OUTCOME_BUSY: 'busy',
  CAPTURE_OUTCOME_ID_USED: 'id_used',
  CAPTURE_OUTCOME_ERASED: 'erased',
};

/** Returns the ranking of a response to a request with these candidates. */
export function rankingOf(candidateIds: readonly string[], response: RankResponse__Output): Ranking {
  const scores = floatsOf(response.scores);
  const order = new Uint32Array(new Uint8Array(response.order).buffer);
  const info = response.info as RankInfo__Output; // every answer has info
  let ranked: RankedItem[] | undefined;
  return {
    scores,
    get ranked() {
      ranked ??= Array.from(order, (i) => ({ itemId: candidateIds[i] ?? '', score: scores[i] ?? 0 }));
      return ranked;
    },
    info: { ...info, rung: RUNGS[info.rung] ?? 'no_history', capture: CAPTURES[info.capture] ?? 'none' },
    ...(response.explanation && { explanation: explanationOf(response.explanation) }),
  };
}

function packedFloats(values: ArrayLike<number>): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}
