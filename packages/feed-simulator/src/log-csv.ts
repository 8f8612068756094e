import type { FeedSimulator } from './feed-simulator.js';
import { createRandom, mixSeeds } from './random.js';
import type { Exposure } from './simulated-user.js';

const FIRST_SESSION_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;

/** The columns of an interaction log, in order. */
export const LOG_HEADER = 'user_id,item_id,timestamp_ms,action,label,watch_ratio,freshness,hour';

/** Returns one line of the log, without its line end. */
export function formatExposure(exposure: Exposure): string {
  const { userId, itemId, timestampMs, action, label, watchRatio, freshness, hour } = exposure;
  return `${userId},${itemId},${timestampMs},${action},${label},${watchRatio},${freshness},${hour}`;
}

/** Options of {@link simulateLog}. */
export interface LogPlan {
  readonly seed: number;
  readonly firstUser: number;
  readonly userCount: number;
  /** Exposures of each user. */
  readonly positionCount: number;
}

/**
 * Yields one user's whole log at a time, oldest exposure first. Sessions have 12 to 40 exposures, 4 to 28 hours apart.
 */
export function* simulateLog(simulator: FeedSimulator, plan: LogPlan): Generator<Exposure[]> {
  for (let index = plan.firstUser; index < plan.firstUser + plan.userCount; index++) {
    const user = simulator.user(index);
    const random = createRandom(mixSeeds(plan.seed, 4, index));
    let nowMs = FIRST_SESSION_MS + random.integer(24 * HOUR_MS);
    const exposures: Exposure[] = [];
    while (exposures.length < plan.positionCount) {
      const count = Math.min(12 + random.integer(29), plan.positionCount - exposures.length);
      exposures.push(...user.expose(count, nowMs));
      nowMs += 4 * HOUR_MS + random.integer(24 * HOUR_MS);
    }
    yield exposures;
  }
}
