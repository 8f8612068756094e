import { createLatencyHistogram, type LatencyHistogram } from '../latency-histogram.js';
import { type FloodPhaseResult, type FloodTimes, WINDOW_MS } from './plan.js';

/** How a request ended. */
export type Outcome =
  | { readonly kind: 'answered' | 'late' }
  | { readonly kind: 'refused'; readonly delayed: boolean }
  | { readonly kind: 'failed'; readonly status: string };

/** Collects the outcomes of a phase. */
export interface PhaseRecord {
  sent(lateMs: number): void;
  ended(dueMs: number, tookMs: number, outcome: Outcome): void;
  result(): FloodPhaseResult;
}

interface OpenWindow {
  answered: number;
  notAnswered: number;
  readonly times: LatencyHistogram;
}

/** Creates a record of a phase that began at `startedMs`. */
export function createPhaseRecord(name: string, startedMs: number): PhaseRecord {
  const [answeredMs, refusedMs, sentLateMs] = [1, 2, 3].map(createLatencyHistogram) as [
    LatencyHistogram,
    LatencyHistogram,
    LatencyHistogram,
  ];
  const windows: OpenWindow[] = [];
  const failed: Record<string, number> = {};
  let [refused, refusedWithDelay, late] = [0, 0, 0];

  function windowAt(dueMs: number): OpenWindow {
    const at = Math.max(0, Math.floor((dueMs - startedMs) / WINDOW_MS));
    while (windows.length <= at) windows.push({ answered: 0, notAnswered: 0, times: createLatencyHistogram() });
    return windows[at] as OpenWindow;
  }

  return {
    sent: (lateMs) => sentLateMs.record(lateMs),
    ended(dueMs, tookMs, outcome) {
      const window = windowAt(dueMs);
      if (outcome.kind !== 'answered') window.notAnswered++;
      switch (outcome.kind) {
        case 'answered':
          window.answered++;
          window.times.record(tookMs);
          answeredMs.record(tookMs);
          break;
        case 'late':
          late++;
          break;
        case 'refused':
          refused++;
          if (outcome.delayed) refusedWithDelay++;
          refusedMs.record(tookMs);
          break;
        case 'failed':
          failed[outcome.status] = (failed[outcome.status] ?? 0) + 1;
      }
    },
    result: () => ({
      name,
      sent: sentLateMs.count,
      answered: answeredMs.count,
      refused,
      refusedWithDelay,
      late,
      failed,
      answeredMs: timesOf(answeredMs),
      refusedMs: timesOf(refusedMs),
      sentLateMs: timesOf(sentLateMs),
      windows: windows.map(({ answered, notAnswered, times }, i) => ({
        atMs: i * WINDOW_MS,
        answered,
        notAnswered,
        answeredP50: times.percentileMs(50),
      })),
    }),
  };
}

function timesOf(times: LatencyHistogram): FloodTimes {
  return { p50: times.percentileMs(50), p99: times.percentileMs(99) };
}
