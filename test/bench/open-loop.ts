import { setTimeout as sleep, setImmediate as yieldOnce } from 'node:timers/promises';
import { createLatencyHistogram, type LatencyHistogram } from './latency-histogram.js';
import { randomNumbers } from './random.js';

/** A clock in milliseconds. */
export interface Clock {
  nowMs(): number;
  /** Resolves at the given time or later. */
  until(ms: number): Promise<void>;
}

/** Options of {@link openLoop}. */
export interface OpenLoopOptions {
  readonly ratePerS: number;
  readonly durationMs: number;
  /** Seed of the gaps between requests. Gaps are exponential, like those of many independent callers. */
  readonly seed: number;
  /** Sends request i, which is due at this time of the clock, and resolves with its answer. */
  send(i: number, dueMs: number): Promise<unknown>;
  /** True ends the loop before its time. */
  ended?(): boolean;
  /** True if the latency of request i counts; default: all count. */
  counts?(i: number): boolean;
  readonly clock?: Clock;
}

/** Measurements of an open loop. */
export interface OpenLoopResult {
  /** Time from a request's due time to its answer or failure. */
  readonly latency: LatencyHistogram;
  /** Time from a request's due time to its sending: the delay that the load generator adds. */
  readonly lateness: LatencyHistogram;
  readonly sentCount: number;
  readonly failedCount: number;
  /** Failed requests by their error: `reason: message`. */
  readonly failures: ReadonlyMap<string, number>;
}

const WALL_CLOCK: Clock = {
  nowMs: () => performance.now(),
  until: async (ms) => {
    const leftMs = ms - performance.now();
    await (leftMs > 0 ? sleep(leftMs) : yieldOnce()); // lets answers in, even if sends are late
  },
};

/**
 * Sends requests at a rate, whether or not answers arrive, and then waits for the last answer. A latency starts when
 * its request was due. A stall of the service or of this process therefore shows in every request that it delayed
 * (coordinated omission).
 */
export async function openLoop(options: OpenLoopOptions): Promise<OpenLoopResult> {
  const { ratePerS, durationMs, seed, send, ended = () => false, counts = () => true, clock = WALL_CLOCK } = options;
  const random = randomNumbers(seed);
  const latency = createLatencyHistogram();
  const lateness = createLatencyHistogram();
  const answers: Promise<void>[] = [];
  const failures = new Map<string, number>();
  const startedMs = clock.nowMs();
  let dueMs = startedMs;
  for (let i = 0; ; i++) {
    dueMs += (-Math.log(1 - random()) * 1_000) / ratePerS;
    if (dueMs - startedMs > durationMs || ended()) break;
    await clock.until(dueMs);
    lateness.record(clock.nowMs() - dueMs);
    answers.push(answerOf(i, dueMs));
  }
  await Promise.all(answers);
  const failedCount = [...failures.values()].reduce((sum, count) => sum + count, 0);
  return { latency, lateness, sentCount: answers.length, failedCount, failures };

  async function answerOf(i: number, sendDueMs: number): Promise<void> {
    try {
      await send(i, sendDueMs);
    } catch (error) {
      const { reason = 'error', message } = error as Error & { reason?: string };
      const failure = `${reason}: ${message}`;
      failures.set(failure, (failures.get(failure) ?? 0) + 1);
    }
    if (counts(i)) latency.record(clock.nowMs() - sendDueMs);
  }
}
