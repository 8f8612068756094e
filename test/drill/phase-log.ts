import { areaUnderCurve, quantile, type Scored } from '@collectivekv/dev-stack';

/** What a rank request gave. */
export interface Sample {
  /** Time from when the request was due to its answer, ms. Undefined: the request is not timed. */
  readonly ms?: number;
  readonly failed: boolean;
  /** True if the answer is on a lower rung. */
  readonly degraded: boolean;
  /** Scores of the answer, with their labels. */
  readonly served: readonly Scored[];
  /** The same candidates, scored by the same bundle without a history. */
  readonly cold: readonly Scored[];
}

/** A phase of a drill, measured. */
export interface PhaseRow {
  readonly phase: string;
  readonly seconds: number;
  readonly requests: number;
  readonly failed: number;
  readonly degraded: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** AUC of the served scores. */
  readonly auc: number;
  /** Least AUC of {@link WINDOW} requests after each other. */
  readonly lowestAuc: number;
  /** AUC of the same bundle without history. */
  readonly coldAuc: number;
  /** Share of the requests that would find a warm record under the next encoding; null if there is none. */
  readonly coverage: number | null;
}

/** What was measured, by phase. */
export interface PhaseLog {
  /** Ends the phase before, and begins another one. Its requests are those that are due from now on. */
  begin(phase: string): void;
  /** Notes the coverage of the candidate in this phase. The last note counts. */
  covered(coverage: number | null): void;
  /** Returns what notes the samples of the present phase. */
  current(): (sample: Sample) => void;
  rows(): PhaseRow[];
}

/** Requests of a window: their AUC has a standard error of about 0.015. */
export const WINDOW = 100;

interface Phase {
  readonly name: string;
  readonly startedMs: number;
  readonly samples: Sample[];
  endedMs: number;
  coverage: number | null;
}

/** Creates the log. */
export function createPhaseLog(nowMs = () => performance.now()): PhaseLog {
  const phases: Phase[] = [];

  function present(): Phase {
    const phase = phases.at(-1);
    if (!phase) throw new Error('no phase has begun');
    return phase;
  }

  return {
    begin(name) {
      const startedMs = nowMs();
      if (phases.length > 0) present().endedMs = startedMs;
      phases.push({ name, startedMs, samples: [], endedMs: Number.NaN, coverage: null });
    },
    covered(coverage) {
      present().coverage = coverage;
    },
    current() {
      const { samples } = present();
      return (sample) => samples.push(sample);
    },
    rows: () => phases.map((phase) => rowOf(phase, nowMs())),
  };
}

function rowOf({ name, startedMs, samples, endedMs, coverage }: Phase, nowMs: number): PhaseRow {
  const times = samples.flatMap(({ ms }) => (ms === undefined ? [] : [ms]));
  const answered = samples.filter(({ served }) => served.length > 0);
  return {
    phase: name,
    seconds: ((Number.isNaN(endedMs) ? nowMs : endedMs) - startedMs) / 1_000,
    requests: samples.length,
    failed: samples.filter(({ failed }) => failed).length,
    degraded: samples.filter(({ degraded }) => degraded).length,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    auc: areaUnderCurve(answered.flatMap(({ served }) => served)),
    lowestAuc: Math.min(...windowsOf(answered).map((window) => areaUnderCurve(window.flatMap(({ served }) => served)))),
    coldAuc: areaUnderCurve(samples.flatMap(({ cold }) => cold)),
    coverage,
  };
}

/** Returns windows of requests after each other. The last one may be longer. */
function windowsOf(samples: readonly Sample[]): (readonly Sample[])[] {
  const count = Math.max(1, Math.floor(samples.length / WINDOW));
  return Array.from({ length: count }, (_, i) =>
    samples.slice(i * WINDOW, i === count - 1 ? samples.length : (i + 1) * WINDOW),
  );
}
