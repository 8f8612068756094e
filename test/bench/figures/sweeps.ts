import type { Arm } from '../arms.js';
import { MAX_CANDIDATES, POOL_SLOTS, SEPARATE_SLOTS } from '../bench-bundles.js';
import type { Bench } from '../bench-context.js';
import type { BareGraph } from '../children.js';
import { rankSerially } from '../rank-loops.js';
import type { Params } from '../results.js';
import { createRounds } from '../rounds.js';
import { median } from '../statistics.js';
import { CANDIDATES } from '../workload.js';

const CANDIDATE_COUNTS = [10, 100, 250, 500, 1_000, MAX_CANDIDATES];
const POOLS = [64, POOL_SLOTS, 1_024, 4_096, 16_384];
/** Fewer pools for quick runs: starting a stack takes seconds. */
const QUICK_POOLS = [POOL_SLOTS, 16_384];
const SWEEP_POSITIONS = 1_000;
const POOL_POSITIONS = [1_000, 10_000];

/** One measurement of a sweep. */
interface Stop {
  readonly about: Params;
  readonly arm: Arm;
  readonly positions: number;
  readonly candidates: number;
  /** The graph alone, if it is timed, too. */
  readonly bare?: BareGraph;
}

/** Measures latency and processor time of the recommended bundle by the number of candidates. */
export async function candidates(bench: Bench): Promise<void> {
  const stops = CANDIDATE_COUNTS.map((count) => {
    const about = { candidates: count, positions: SWEEP_POSITIONS };
    return { about, arm: bench.ours, bare: bench.bare[0], ...about };
  });
  await sweep(bench, 'candidates', stops);
}

/** Measures latency by the size of a pool, with random weights. */
export async function pool(bench: Bench): Promise<void> {
  const arms: (readonly [Params, Arm])[] = [];
  try {
    for (const slots of bench.options.mode === 'quick' ? QUICK_POOLS : POOLS) {
      arms.push([{ pool: slots }, await bench.startArm(`pool-${slots}`, bench.random('shared', { slots }))]);
    }
    if (bench.options.mode === 'full') {
      const separate = await bench.startArm('separate', bench.random('shared_separate'));
      arms.push([{ pool: `${SEPARATE_SLOTS}, separate routes` }, separate]);
    }
    const stops = arms.flatMap(([about, arm]) =>
      POOL_POSITIONS.map((positions) => ({ about: { ...about, positions }, arm, positions, candidates: CANDIDATES })),
    );
    await sweep(bench, 'pool', stops);
  } finally {
    await Promise.all(arms.map(([, arm]) => arm.close()));
  }
}

async function sweep(bench: Bench, name: string, stops: readonly Stop[]): Promise<void> {
  const { rounds, runs, settleRuns, sliceMs } = bench.options;
  const seen = createRounds<string>();
  for (let round = 0; round <= rounds; round++) {
    bench.progress(`${name}, ${round === 0 ? 'warm-up' : `round ${round} of ${rounds}`}`);
    for (const [i, { arm, bare, positions, candidates }] of stops.entries()) {
      const load = { positions, candidates };
      await arm.hold(positions);
      const limits = { runs, budgetMs: sliceMs / 2, settleRuns };
      const ranks = await rankSerially(arm, load, limits);
      const alone = await bare?.run({
        graph: 'rank',
        histories: await bench.histories(positions),
        candidates,
        ...limits,
      });
      if (round === 0) continue;
      if (alone) seen.add(`${i} bare`, median(alone.times));
      seen.add(`${i} p50`, median(ranks.times.map(({ caller }) => caller)));
      seen.add(`${i} runs`, ranks.times.length);
      seen.add(`${i} cpu`, ...ranks.cpuSeconds.values());
    }
  }
  for (const [i, { about, bare }] of stops.entries()) {
    bench.add(`${name}_rank_p50`, about, seen.median(`${i} p50`), 'ms');
    if (!bare) continue;
    bench.add(`${name}_bare_p50`, about, seen.median(`${i} bare`), 'ms');
    bench.add(`${name}_rank_cpu`, about, (1_000 * seen.sum(`${i} cpu`)) / seen.sum(`${i} runs`), 'ms');
  }
}
