import { setTimeout as sleep, setImmediate as yieldOnce } from 'node:timers/promises';
import { createLatencyHistogram, type LatencyHistogram } from './latency-histogram.js';
import { randomNumbers } from './random.js';

/** Tells and waits for the time, milliseconds. */
export interface Clock {
  nowMs(): number;
  /** Resolves at that time or later. */
  until(ms: number): Promise<void>;
}

/** Options of {@link openLoop}. */
export interface OpenLoopOptions {
  readonly ratePerS: number;
  readonly durationMs: number;
  /** Of the gaps between sends: exponential, so that arrivals come as from many independent callers. */
  readonly seed: number;
  /** Sends request i and resolves with its answer. */
  send(i: number): Promise<unknown>;
  /** Which requests' latencies count; default all. */
  counts?(i: number): boolean;
  readonly clock?: Clock;
}

/** What an open loop saw. */
export interface OpenLoopResult {
  /** From the time each request was due to its answer, failures included. */
  readonly latency: LatencyHistogram;
  /** From the time each request was due to its being sent: what the generator itself adds. */
  readonly lateness: LatencyHistogram;
  readonly sentCount: number;
  readonly failedCount: number;
}

const WALL_CLOCK: Clock = {
  nowMs: () => performance.now(),
  until: async (ms) => {
    const leftMs = ms - performance.now();
    await (leftMs > 0 ? sleep(leftMs) : yieldOnce()); // answers come in between, even behind time
  },
};

/**
 * Sends at a rate whether or not answers come back, and waits for the last of them. A latency counts from the time its
 * request was due, so that a stall, of the service or of this process, shows in every request that it held up
 * (coordinated omission).
 */
export async function openLoop(options: OpenLoopOptions): Promise<OpenLoopResult> {
  const { ratePerS, durationMs, seed, send, counts = () => true, clock = WALL_CLOCK } = options;
  const random = randomNumbers(seed);
  const latency = createLatencyHistogram();
  const lateness = createLatencyHistogram();
  const answers: Promise<void>[] = [];
  let failedCount = 0;
  const startedMs = clock.nowMs();
  let dueMs = startedMs;
  for (let i = 0; ; i++) {
    dueMs += (-Math.log(1 - random()) * 1_000) / ratePerS;
    if (dueMs - startedMs > durationMs) break;
    await clock.until(dueMs);
    lateness.record(clock.nowMs() - dueMs);
    answers.push(answerOf(i, dueMs));
  }
  await Promise.all(answers);
  return { latency, lateness, sentCount: answers.length, failedCount };

  async function answerOf(i: number, sendDueMs: number): Promise<void> {
    try {
      await send(i);
    } catch {
      failedCount++;
    }
    if (counts(i)) latency.record(clock.nowMs() - sendDueMs);
  }
}
