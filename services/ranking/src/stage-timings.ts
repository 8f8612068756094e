import { type Hop, inSpan } from '@collectivekv/tracing';

/** The stages of a rank request. */
export type Stage = 'fetch' | 'encode' | 'gather' | 'assemble' | 'attend';

/** Microseconds of each stage, and of the whole request. */
export type StageTimings = Record<Stage | 'total', number>;

const STAGES: Record<Stage, Hop> = {
  fetch: { name: 'fetch' },
  encode: { name: 'encode' },
  gather: { name: 'gather' },
  assemble: { name: 'assemble' },
  attend: { name: 'attend' },
};

/** Times the stages of one request. */
export interface Stopwatch {
  /** Runs `work` in a span, and adds its time to the stage's. */
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
        return await inSpan(STAGES[stage], async () => work());
      } finally {
        timings[stage] += Math.round((performance.now() - stageStartedMs) * 1000);
      }
    },
    finish: () => ({ ...timings, total: Math.round((performance.now() - startedMs) * 1000) }),
  };
}
