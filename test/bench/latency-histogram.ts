import { createHistogram } from 'node:perf_hooks';

/** Latencies in a high dynamic range histogram: three digits, from a microsecond up. */
export interface LatencyHistogram {
  readonly count: number;
  /** @param ms below a microsecond counts as one */
  record(ms: number): void;
  /** The latency, ms, that the given percentage of them does not exceed; NaN without any. */
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
