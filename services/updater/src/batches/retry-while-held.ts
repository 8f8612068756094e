import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, type CkvError, type Reason, toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import { OpeningOver, termOver } from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';
import type { Fence } from '../partitions/fence.js';

/**
 * Repeats work after transient errors, with growing pauses, while all the fences are held.
 * @throws the first error that is not transient; conflict if a fence is lost, or its partition was opened again; the
 * last error after a shutdown began
 */
export type RetryWhileHeld = <T>(fences: readonly Fence[], work: () => Promise<T>) => Promise<T>;

/** Transient errors say nothing about a job: the same work may succeed later. */
const TRANSIENT: ReadonlySet<Reason> = new Set<Reason>([
  'dependency_unavailable',
  'draining',
  'overloaded',
  'conflict',
  'deadline',
  'cancelled',
  'bundle_not_loaded',
]);
const PAUSE = { firstMs: 50, longestMs: 2_000 } as const;

/** True if the same work may succeed later. */
export function isTransient({ reason }: CkvError): boolean {
  return TRANSIENT.has(reason);
}

/** Throws conflict unless all the fences are held: another updater may work on the partition now. */
export function requireHeld(fences: readonly Fence[]): void {
  const lost = fences.find((fence) => !fence.isHeld());
  if (lost) throw termOver(lost);
}

/** Creates the retries. */
export function createRetryWhileHeld(parts: {
  readonly metrics: Pick<UpdaterMetrics, 'retries'>;
  readonly log: Logger;
  /** Ends the retries. */
  readonly signal: AbortSignal;
}): RetryWhileHeld {
  const { metrics, log, signal } = parts;
  return async (fences, work) => {
    for (let failureCount = 1; ; failureCount++) {
      requireHeld(fences);
      try {
        return await work();
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (!isTransient(error) || error instanceof OpeningOver) throw error;
        metrics.retries.inc({ reason: error.reason });
        log.warn({ reason: error.reason, problem: error.message, failureCount }, 'retrying a batch');
        if (signal.aborted) throw error;
        await sleep(backoffMs(failureCount, PAUSE), undefined, { signal }).catch(() => undefined);
      }
    }
  };
}
