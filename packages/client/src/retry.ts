import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, CkvError, REASONS, steadyNowMs, toCkvError } from '@collectivekv/domain';

/** Bounds of a call with its retries. */
export interface RetryLimits {
  /** When the call and its retries must have ended, Unix ms. */
  readonly deadlineMs: number;
  /** Most tries of the call, the first included. */
  readonly maxAttempts: number;
  readonly signal?: AbortSignal | undefined;
}

const BACKOFF = { firstMs: 25, longestMs: 1_000 };

/**
 * Repeats a call while it fails with a transient error and there are attempts and time left. Between two attempts it
 * pauses for 25 ms, doubled each time up to 1 s and shortened at random by up to half. If the server asks for a longer
 * delay, it waits that long.
 * @throws the last failure, or `cancelled` if the signal aborts during a pause
 */
export async function withRetries<T>(limits: RetryLimits, call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (thrown) {
      const error = toCkvError(thrown);
      const delayMs = Math.max(error.retryAfterMs ?? 0, backoffMs(attempt, BACKOFF));
      const late = steadyNowMs() + delayMs >= limits.deadlineMs;
      if (REASONS[error.reason].retry !== 'backoff' || attempt >= limits.maxAttempts || late) throw error;
      await sleep(delayMs, undefined, { signal: limits.signal }).catch(() => {
        const why: unknown = limits.signal?.reason;
        throw why instanceof CkvError ? why : new CkvError('cancelled', 'the caller gave up', { cause: error });
      });
    }
  }
}
