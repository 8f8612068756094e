import type { RunLimits } from '@collectivekv/engine';
import type { RankLimits } from '../rank-query.js';

/** Returns the limits of a run that requests without an explanation do not wait for. */
export function inBackground(limits: RankLimits): RunLimits {
  return {
    deadlineMs: limits.deadlineMs,
    get ended() {
      return limits.ended;
    },
    background: true,
  };
}
