import { type Served, WORKERS } from '../arms.js';
import type { BareAnswer } from '../bare-graph.js';
import type { Bench } from '../bench-context.js';
import type { Baseline } from '../options.js';
import { rankConcurrently } from '../rank-loops.js';
import { createRounds } from '../rounds.js';
import { rankProcessorSeconds, readMetrics } from '../usage.js';
import { CANDIDATES } from '../workload.js';

const IN_FLIGHT = { full: [1, 2, 4, 8, 16, 32], quick: [1, 4, 16, 32], soak: [], overload: [], switches: [] };
/** Requests in flight for the targets. */
const FULL_LOAD = 16;
/** The baseline that is also put under load. */
export const COMPARED_UNDER_LOAD: Baseline = 'full_fp16';
const LOAD = { positions: 1_000, candidates: CANDIDATES };
/** Period of the timer with which Node samples the event loop's delay, ms. Node's figure includes it. */
const SAMPLING_MS = 10;
const BARE_RUNS = 10_000;

/** Measures answers per second by requests in flight, and of bare loops: one for each worker, on the same cores. */
export async function throughput(bench: Bench): Promise<void> {
  const { ours, options } = bench;
  const arms: readonly Served[] = [
    ours,
    ours.unary,
    ...(options.baselines.includes(COMPARED_UNDER_LOAD) ? [await bench.arm(COMPARED_UNDER_LOAD)] : []),
  ];
  const durationMs = options.sliceMs;
  const inFlights = IN_FLIGHT[options.mode];
  for (const arm of arms) await arm.hold(LOAD.positions);
  const seen = createRounds<readonly [what: string, inFlight: number]>();
  for (let round = 0; round <= options.rounds; round++) {
    bench.progress(`throughput, ${round === 0 ? 'warm-up' : `round ${round} of ${options.rounds}`}`);
    const kept = round === 0 ? createRounds<readonly [string, number]>() : seen;
    const bare = await runBare(bench, durationMs);
    kept.add(['bare', 0], bare.rate);
    kept.add(['bare processor', 0], bare.processorMs);
    for (const inFlight of round === 0 ? [FULL_LOAD] : inFlights) {
      for (const arm of arms) {
        const { rate, delayMs, processorMs } = await rankUnderLoad(bench, arm, { inFlight, durationMs });
        kept.add([arm.name, inFlight], rate);
        for (const [process, ms] of processorMs) kept.add([`${arm.name} processor ${process}`, inFlight], ms);
        kept.add([`${arm.name} delay`, inFlight], delayMs);
      }
    }
  }
  bench.add('bare_graph_rate', { loops: WORKERS, ...LOAD }, seen.median(['bare', 0]), '/s');
  for (const { name: arm } of arms) {
    for (const inFlight of inFlights) {
      bench.add('rank_rate', { arm, 'in flight': inFlight, ...LOAD }, seen.median([arm, inFlight]), '/s');
    }
  }
  const about = { 'in flight': FULL_LOAD, ...LOAD };
  bench.add('throughput_over_bare', about, seen.ratio([ours.name, FULL_LOAD], ['bare', 0]), '', '>= 0.75');
  bench.add('throughput_over_bare_unary', about, seen.ratio([ours.unary.name, FULL_LOAD], ['bare', 0]));
  const processors = ['ranking', 'Redis', 'load generator'];
  for (const process of processors) {
    const used = seen.median([`${ours.name} processor ${process}`, FULL_LOAD]);
    bench.add('rank_processor_time', { process, ...about }, used, 'ms');
  }
  bench.add('bare_processor_time', LOAD, seen.median(['bare processor', 0]), 'ms');
  const alone = seen.ratio(['bare processor', 0], [`${ours.name} processor ranking`, FULL_LOAD]);
  bench.add('bare_over_ranking_processor_time', about, alone);
  bench.add(
    'event_loop_delay_p99',
    { service: 'ranking', ...about },
    seen.median([`${ours.name} delay`, FULL_LOAD]),
    'ms',
    '<= 10',
  );
}

/** Returns the runs per second of all bare graphs together, and the processor time of a run, ms. */
async function runBare({ bare, histories }: Bench, budgetMs: number): Promise<{ rate: number; processorMs: number }> {
  const { positions, candidates } = LOAD;
  const limits = { runs: BARE_RUNS, budgetMs, settleRuns: 0 };
  const request = { graph: 'rank', histories: await histories(positions), candidates, ...limits } as const;
  const answers = await Promise.all(bare.map((one) => one.run(request)));
  const sumOf = (value: (answer: BareAnswer) => number) => answers.reduce((sum, answer) => sum + value(answer), 0);
  return {
    rate: sumOf(({ times, elapsedMs }) => (times.length * 1_000) / elapsedMs),
    processorMs: sumOf((answer) => answer.processorMs) / sumOf(({ times }) => times.length),
  };
}

/**
 * Returns the answers per second, the delay of ranking's event loop, and the processor time per answer of each process.
 */
async function rankUnderLoad({ redis }: Bench, arm: Served, load: { inFlight: number; durationMs: number }) {
  const before = await rankProcessorSeconds(arm.services, redis); // the delay counts from here: it reads the metrics
  const begunMs = performance.now();
  const rate = await rankConcurrently(arm, LOAD, load);
  const answers = (rate * (performance.now() - begunMs)) / 1_000;
  const delayMs = await eventLoopDelayMs(arm); // before anything else reads the metrics
  const after = await rankProcessorSeconds(arm.services, redis);
  const processorMs = new Map(
    [...after].map(([process, seconds]) => [process, ((seconds - (before.get(process) ?? 0)) * 1_000) / answers]),
  );
  return { rate, delayMs, processorMs };
}

/**
 * Returns the p99 delay of ranking's sampling timer since its metrics were last read, ms.
 * @throws Error if the timer has not fired since
 */
async function eventLoopDelayMs({ stack }: Served): Promise<number> {
  const [ranking] = stack.services.ranking;
  if (!ranking) throw new Error('there is no ranking service');
  const metric = await readMetrics(ranking);
  const sampledMs = metric('nodejs_eventloop_lag_p99_seconds') * 1_000;
  if (!(sampledMs > 0)) throw new Error("no delay of ranking's event loop was sampled");
  return Math.max(0, sampledMs - SAMPLING_MS);
}
