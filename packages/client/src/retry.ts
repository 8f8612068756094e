import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, CkvError, REASONS, steadyNowMs, toCkvError } from '@collectivekv/domain';
import type { RetryBudget } from './retry-budget.js';

/** Bounds of a call with its retries. */
export interface RetryLimits {
  /** When the call and its retries must have ended, Unix ms. */
  readonly deadlineMs: number;
  /** Most tries of the call, the first included. */
  readonly maxAttempts: number;
  readonly signal?: AbortSignal | undefined;
  /** Bounds the tries. Default: `maxAttempts` alone does, and no try ends before the deadline. */
  readonly budget?: RetryBudget;
}

/** One try of a call. */
export interface Attempt {
  /** When the try must have ended, Unix ms. */
  readonly deadlineMs: number;
  /** True if an earlier try failed, and not because the server was overloaded: another server should get this one. */
  readonly again: boolean;
}

const BACKOFF = { firstMs: 25, longestMs: 1_000 };
/** A try with less time would seldom end with an answer. */
const LEAST_ATTEMPT_MS = 50;

/**
 * Repeats a call while it fails with a transient error and there are attempts and time left. Between two attempts it
 * pauses for 25 ms, doubled each time up to 1 s and shortened at random by up to half. If the server asks for a longer
 * delay, it waits that long and up to half longer. Every attempt but the last gets half of the time that is left, so
 * that a server that hangs leaves time for another one.
 * @throws the last failure, or `cancelled` if the signal aborts during a pause
 */
export async function withRetries<T>(limits: RetryLimits, call: (attempt: Attempt) => Promise<T>): Promise<T> {
  let again = false;
  for (let attempt = 1; ; attempt++) {
    const deadlineMs = attemptDeadline(limits, attempt);
    try {
      const answer = await call({ deadlineMs, again });
      limits.budget?.answered();
      return answer;
    } catch (thrown) {
      const error = toCkvError(thrown);
      again = error.reason !== 'overloaded';
      const early = error.reason === 'deadline' && deadlineMs < limits.deadlineMs;
      const delayMs = early ? 0 : pauseMs(attempt, error.retryAfterMs);
      const late = steadyNowMs() + delayMs >= limits.deadlineMs;
      const transient = early || REASONS[error.reason].retry === 'backoff';
      if (!transient || attempt >= limits.maxAttempts || late) throw error;
      // A try that ended early had the budget's leave before it began.
      if (limits.budget?.take(error.reason === 'overloaded' ? 'afterRefusal' : 'afterFailure') === false && !early)
        throw error;
      await sleep(delayMs, undefined, { signal: limits.signal }).catch(() => {
        const why: unknown = limits.signal?.reason;
        throw why instanceof CkvError ? why : new CkvError('cancelled', 'the caller gave up', { cause: error });
      });
    }
  }
}

/**
 * Returns the pause before the next try, ms.
 * @param failureCount failed tries so far
 * @param retryAfterMs delay that the server asks for. Callers that were refused together must not return together
 */
export function pauseMs(failureCount: number, retryAfterMs = 0): number {
  return Math.max(retryAfterMs * (1 + Math.random() / 2), backoffMs(failureCount, BACKOFF));
}

function attemptDeadline({ deadlineMs, maxAttempts, budget }: RetryLimits, attempt: number): number {
  const nowMs = steadyNowMs();
  const halfMs = (deadlineMs - nowMs) / 2;
  const whole = attempt >= maxAttempts || halfMs < LEAST_ATTEMPT_MS || !budget?.endsEarly;
  return whole ? deadlineMs : nowMs + halfMs;
}
