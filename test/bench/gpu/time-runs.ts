import { median } from '../statistics.js';
import type { Device, RunTimes } from './device.js';

/** How often a run is repeated. */
export interface Repeats {
  /** Runs before the timed ones: the first run of a shape is slow. */
  readonly warmUps: number;
  readonly most: number;
  /** No further run begins after this time, preparations included, but three are made. */
  readonly budgetMs: number;
}

/** Times of equal runs, and the outcome of the last. */
export interface TimedRuns<T> {
  readonly answer: T;
  readonly p50: RunTimes;
  /** The longest, as a caller sees it. */
  readonly longestMs: number;
  readonly count: number;
}

const LEAST_RUNS = 3;

/** Repeats a run on a device. `prepare` makes the inputs of each, and is not timed. */
export async function timeRuns<In, Out>(
  device: Device,
  { warmUps, most, budgetMs }: Repeats,
  prepare: () => In,
  run: (input: In) => Promise<Out>,
): Promise<TimedRuns<Out>> {
  for (let i = 0; i < warmUps; i++) await run(prepare());
  const times: RunTimes[] = [];
  const untilMs = performance.now() + budgetMs;
  for (;;) {
    const input = prepare();
    const timed = await device.timed(() => run(input));
    times.push(timed.times);
    if (times.length < LEAST_RUNS) continue;
    if (times.length < most && performance.now() < untilMs) continue;
    const p50 = { whole: median(times.map(({ whole }) => whole)), graph: median(times.map(({ graph }) => graph)) };
    const longestMs = Math.max(...times.map(({ whole }) => whole));
    return { answer: timed.answer, p50, longestMs, count: times.length };
  }
}
