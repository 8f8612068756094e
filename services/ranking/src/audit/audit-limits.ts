import { steadyNowMs } from '@collectivekv/domain';
import type { RankLimits } from '../rank-query.js';

/** Longest time for a computation, ms. */
const TIMEOUT_MS = 30_000;

/** Returns the limits of a computation that begins now. Nobody waits for it. */
export function auditLimits(): RankLimits {
  return { deadlineMs: steadyNowMs() + TIMEOUT_MS, signal: new AbortController().signal };
}
