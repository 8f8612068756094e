import { createHistogram } from 'node:perf_hooks';

/** A high dynamic range histogram of latencies: three digits, from 1 microsecond. */
export interface LatencyHistogram {
  readonly count: number;
  /** Records a latency. Less than 1 microsecond counts as 1. */
  record(ms: number): void;
  /** Returns the latency, ms, that the given percentage of latencies does not exceed. NaN without latencies. */
  percentileMs(percentage: number): number;
}

/** Creates an empty histogram. */
export function createLatencyHistogram(): LatencyHistogram {
  const microseconds = createHistogram({ figures: 3 });
  return {
    get count() {
      return microseconds.count;
    },
    record: (ms) => microseconds.record(Math.max(1, Math.round(ms * 1_000))),
    percentileMs: (percentage) => (microseconds.count === 0 ? Number.NaN : microseconds.percentile(percentage) / 1_000),
  };
}
