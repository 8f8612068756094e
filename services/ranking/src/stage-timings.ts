/** The stages of a rank request. */
export type Stage = 'fetch' | 'encode' | 'gather' | 'assemble' | 'attend';

/** Microseconds of each stage, and of the whole request. */
export type StageTimings = Record<Stage | 'total', number>;

/** Times the stages of one request. */
export interface Stopwatch {
  /** Runs `work` and adds its time to the stage's. */
  time<T>(stage: Stage, work: () => T | Promise<T>): Promise<T>;
  /** Returns the timings so far. */
  finish(): StageTimings;
}

/** Starts a stopwatch. */
export function createStopwatch(): Stopwatch {
  const startedMs = performance.now();
  const timings: StageTimings = { fetch: 0, encode: 0, gather: 0, assemble: 0, attend: 0, total: 0 };
  return {
    async time(stage, work) {
      const stageStartedMs = performance.now();
      try {
        return await work();
      } finally {
        timings[stage] += Math.round((performance.now() - stageStartedMs) * 1000);
      }
    },
    finish: () => ({ ...timings, total: Math.round((performance.now() - startedMs) * 1000) }),
  };
}
