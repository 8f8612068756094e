import { type Logger, type Metrics, watchGauge } from '@collectivekv/service-kit';

/** What the console tells of its work. */
export interface ConsoleMetrics {
  /** Logs the first error of each outage of the queue's Redis. */
  readonly onQueueError: (error: Error) => void;
  /** Counts the replicas of a look. */
  readonly onLook: (answered: number, failed: number) => void;
}

/** Errors of the queue's Redis within this time are one outage. */
const OUTAGE_MS = 60_000;

/** Registers the console's metrics. */
export function createConsoleMetrics(metrics: Metrics, log: Pick<Logger, 'warn'>): ConsoleMetrics {
  let looked = { answered: 0, failed: 0 };
  let lastErrorMs = Number.NEGATIVE_INFINITY;
  const answered = { name: 'ckv_console_replicas_read', help: 'Replicas whose metrics the last look read' };
  watchGauge(metrics, answered, () => looked.answered);
  const failed = { name: 'ckv_console_replicas_failed', help: 'Replicas whose metrics the last look could not read' };
  watchGauge(metrics, failed, () => looked.failed);
  return {
    onQueueError({ message }) {
      const isNew = performance.now() - lastErrorMs > OUTAGE_MS;
      lastErrorMs = performance.now();
      if (isNew) log.warn({ problem: message }, "the queue's Redis cannot be reached");
    },
    onLook(answered, failed) {
      looked = { answered, failed };
    },
  };
}
