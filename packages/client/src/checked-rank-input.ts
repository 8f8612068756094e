import { invalidRequest, LIMITS, parseId } from '@collectivekv/domain';
import {
  checkFlag,
  checkKeys,
  checkNumber,
  checkNumbers,
  checkText,
  checkWholeNumber,
  nameOf,
  notOneOf,
} from './checks.js';
import type { RankInput } from './rank-messages.js';

const FIELDS: Record<keyof RankInput, true> = {
  userId: true,
  candidateIds: true,
  candidateFeatures: true,
  contextFeatures: true,
  recentInteractions: true,
  maxStalenessMs: true,
  topK: true,
  bundleId: true,
  history: true,
  captureId: true,
  explain: true,
};
const POLICIES: Record<NonNullable<RankInput['history']>, true> = { preferred: true, required: true, ignored: true };

/**
 * Checks what the message could not carry, or would carry as another value. The service checks the rest.
 * @param path prefix of field names in errors: `inputs[3].`, or empty
 * @throws invalid_request naming the field, the limit and the remedy
 */
export function checkRankInput(input: RankInput, path = ''): void {
  checkKeys(input, Object.keys(FIELDS), path);
  parseId(input.userId, `${path}userId`, LIMITS.idBytes);
  checkCandidates(input.candidateIds, `${path}candidateIds`);
  for (const [name, values] of namedValues(input.candidateFeatures, `${path}candidateFeatures`)) {
    checkNumbers(values, `${path}candidateFeatures.${name}`, input.candidateIds.length);
  }
  for (const [name, value] of namedValues(input.contextFeatures, `${path}contextFeatures`)) {
    checkNumber(value, `${path}contextFeatures.${name}`);
  }
  checkRecent(input, `${path}recentInteractions`);
  checkWholeNumber(input.maxStalenessMs, `${path}maxStalenessMs`, 0, LIMITS.maxStalenessMs);
  checkWholeNumber(input.topK, `${path}topK`, 0, LIMITS.candidates);
  checkText(input.bundleId, `${path}bundleId`);
  checkText(input.captureId, `${path}captureId`);
  checkFlag(input.explain, `${path}explain`);
  if (!Object.hasOwn(POLICIES, input.history ?? 'preferred')) {
    throw notOneOf(`${path}history`, 'is not a known policy', Object.keys(POLICIES));
  }
}

function checkCandidates(ids: readonly unknown[], field: string): void {
  if (!Array.isArray(ids)) throw invalidRequest(field, `is ${nameOf(ids)}, not an array`, 'send an array of item ids');
  for (let i = 0; i < ids.length; i++) {
    if (typeof ids[i] !== 'string') parseId(ids[i], `${field}[${i}]`, LIMITS.idBytes); // throws
  }
}

function checkRecent({ userId, recentInteractions: recent }: RankInput, field: string): void {
  if (recent === undefined) return;
  if (!Array.isArray(recent)) throw invalidRequest(field, `is ${nameOf(recent)}, not an array`, 'send an array');
  recent.forEach((one: { userId?: unknown } | null, i) => {
    if ((one?.userId ?? userId) === userId) return;
    throw invalidRequest(`${field}[${i}].userId`, 'is not userId', "send this user's interactions only");
  });
}

function namedValues<T>(values: Readonly<Record<string, T>> | undefined, field: string): [string, T][] {
  if (values === undefined) return [];
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw invalidRequest(field, `is ${nameOf(values)}, not an object`, 'send values by feature name');
  }
  const entries = Object.entries(values);
  for (const [name] of entries) parseId(name, `${field} (a name)`, LIMITS.featureNameBytes);
  return entries;
}
