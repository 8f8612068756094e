import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, REASONS, toCkvError } from '@collectivekv/domain';

/** Bounds of a call with its retries. */
export interface RetryLimits {
  /** Unix ms at which the whole must have ended. */
  readonly deadlineMs: number;
  readonly maxAttempts: number;
  readonly signal?: AbortSignal | undefined;
}

const FIRST_DELAY_MS = 25;
const MAX_DELAY_MS = 1_000;

/**
 * Calls until it succeeds, fails for good, or runs out of attempts or time. Pauses double from 25 ms to 1 s, at random
 * between half and whole; a delay that the server asks for is kept.
 * @throws the last failure; cancelled where the signal aborts a pause
 */
export async function withRetries<T>(limits: RetryLimits, call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (thrown) {
      const error = toCkvError(thrown);
      const delayMs = delayBefore(error, attempt);
      const late = Date.now() + delayMs >= limits.deadlineMs;
      if (REASONS[error.reason].retry !== 'backoff' || attempt >= limits.maxAttempts || late) throw error;
      await sleep(delayMs, undefined, { signal: limits.signal }).catch(() => {
        const why: unknown = limits.signal?.reason;
        throw why instanceof CkvError ? why : new CkvError('cancelled', 'the caller gave up', { cause: error });
      });
    }
  }
}

function delayBefore({ retryAfterMs }: CkvError, attempt: number): number {
  const backoffMs = Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), MAX_DELAY_MS) * (0.5 + Math.random() / 2);
  return Math.max(retryAfterMs ?? 0, backoffMs);
}
