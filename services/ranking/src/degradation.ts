import { type Reason, steadyNowMs, toCkvError } from '@collectivekv/domain';
import type { HistoryPolicy } from './rank-query.js';

/** How complete an answer is. */
export type Rung = 'full' | 'recent_only' | 'no_history';

/** Failures to get the history after which an answer without it is still useful. */
const DEGRADABLE: ReadonlySet<Reason> = new Set<Reason>([
  'dependency_unavailable',
  'draining',
  'overloaded',
  'deadline',
  'record_corrupt',
  'encoding_mismatch',
  'bundle_mismatch',
]);

/**
 * Returns why the history is missing, for a request that can be answered without it.
 * @throws the failure itself, if the caller requires history or an answer would hide the failure
 */
export function degradedBy(thrown: unknown, policy: HistoryPolicy): Reason {
  const error = toCkvError(thrown);
  if (policy === 'required' || !DEGRADABLE.has(error.reason)) throw error;
  return error.reason;
}

/**
 * Returns until when to wait for a part of the history, Unix ms: half of the time left, so that an answer without it
 * can be in time.
 */
export function halfTimeLeft(deadlineMs: number): number {
  const nowMs = steadyNowMs();
  return nowMs + (deadlineMs - nowMs) / 2;
}

/**
 * Returns the rung of an answer.
 * @param missing why the history is missing; undefined if it is not
 * @param positionCount positions that were attended to
 */
export function rungOf(policy: HistoryPolicy, missing: Reason | undefined, positionCount: number): Rung {
  if (missing === undefined && policy !== 'ignored') return 'full';
  return positionCount === 0 ? 'no_history' : 'recent_only';
}
