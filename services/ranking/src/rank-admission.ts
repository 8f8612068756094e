import type { Engine } from '@collectivekv/engine';
import { type Admission, createAdmission, watchLoop } from '@collectivekv/rpc/server';

/** Options of {@link admitRanks}. */
export interface RankAdmissionOptions {
  readonly engine: Pick<Engine, 'queuedCount' | 'hungry'>;
  readonly workerCount: number;
  /** Most requests that wait to be begun. */
  readonly mostWaiting: number;
  /** True if the event loop has no time left. Default: measured. */
  readonly saturated?: () => boolean;
}

/** Runs of a worker: the one that it computes, and the next. */
const RUNS_PER_WORKER = 2;
/**
 * Requests that are worked on without regard to the load. Some of them read their records while others are computed.
 */
const LEAST_STARTED = 16;
/** Most requests that are worked on at once. They are this many only if Redis is slow. */
const MOST_STARTED = 1_024;

/** Creates the admission of rank requests: as many begin as keep the workers busy. */
export function admitRanks({
  engine,
  workerCount,
  mostWaiting,
  saturated = watchLoop(),
}: RankAdmissionOptions): Admission {
  return createAdmission({
    load() {
      if (engine.queuedCount > workerCount) return 'full';
      return engine.hungry && !saturated() ? 'spare' : 'busy';
    },
    started: { least: Math.max(LEAST_STARTED, RUNS_PER_WORKER * workerCount), most: MOST_STARTED },
    mostWaiting,
  });
}
