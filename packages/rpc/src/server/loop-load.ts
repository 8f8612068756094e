import { performance } from 'node:perf_hooks';

/** Share of its time that a saturated event loop is at work. */
const SATURATED_SHARE = 0.95;
/** Time over which the share is measured, ms. */
const SPAN_MS = 20;

/** Returns a function that says whether the event loop of this process has no time left. */
export function watchLoop(): () => boolean {
  let from = performance.eventLoopUtilization();
  let fromMs = performance.now();
  let saturated = false;
  return () => {
    const nowMs = performance.now();
    if (nowMs - fromMs >= SPAN_MS) {
      saturated = performance.eventLoopUtilization(from).utilization > SATURATED_SHARE;
      from = performance.eventLoopUtilization();
      fromMs = nowMs;
    }
    return saturated;
  };
}
