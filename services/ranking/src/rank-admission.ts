import type { Engine } from '@collectivekv/engine';
import { type Admission, createAdmission, watchLoop } from '@collectivekv/rpc/server';

/** Options of {@link admitRanks}. */
export interface RankAdmissionOptions {
  readonly engine: Pick<Engine, 'queuedCount' | 'hungry' | 'mostUsers'>;
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

/**
 * Creates the admission of rank requests: as many begin as keep the workers busy. If users share runs, the bounds are
 * for full runs: one that a worker computes, and the next.
 */
export function admitRanks({
  engine,
  workerCount,
  mostWaiting,
  saturated = watchLoop(),
}: RankAdmissionOptions): Admission {
  /** Users of all runs that the workers may have. */
  const users = () => RUNS_PER_WORKER * workerCount * engine.mostUsers;
  return createAdmission({
    load() {
      if (engine.queuedCount > workerCount * engine.mostUsers) return 'full';
      return engine.hungry && !saturated() ? 'spare' : 'busy';
    },
    started: {
      get least() {
        const alone = Math.max(LEAST_STARTED, RUNS_PER_WORKER * workerCount);
        // Those that have begun must fit the queue of the engine, which has `mostWaiting` places too.
        return Math.max(alone, Math.min(users(), mostWaiting, MOST_STARTED));
      },
      most: MOST_STARTED,
    },
    mostWaiting,
    get mostStanding() {
      return engine.mostUsers > 1 ? users() : undefined;
    },
  });
}
