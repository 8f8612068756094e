import type { Arm } from './arms.js';
import type { Bench } from './bench-context.js';
import { lengthsOf, type Part } from './options.js';
import { RECOMMENDED, type TrainedBundleName } from './trained-bundles.js';
import { CANDIDATES } from './workload.js';

/** Parts that also time the baselines. */
const PARTS_WITH_BASELINES: readonly Part[] = ['length', 'throughput'];
/** Arms of equal scores: those of the full model, and those of its factored pool. */
const SAME: readonly (readonly TrainedBundleName[])[] = [
  ['full_fp32', 'full_fp16', 'recompute'],
  [RECOMMENDED, 'recompute_clusters'],
];
/** Allowed difference of scores that are equal in exact arithmetic. It covers half precision records. */
const TOLERANCE = 1e-4;

/**
 * Compares the scores of the arms before they are timed: Rank with the graph alone, means from pool tables with means
 * from gathered rows, and a full cache with recomputation.
 * @throws Error naming the arms and the difference
 */
export async function checkScores(bench: Bench): Promise<void> {
  const { ours, bare, options } = bench;
  const candidates = CANDIDATES;
  const withBaselines = options.parts.some((part) => PARTS_WITH_BASELINES.includes(part));
  for (const positions of options.lengths) {
    bench.progress(`comparing the scores of all arms, ${positions} positions`);
    const [history = new Uint8Array(0)] = await bench.histories(positions);
    const request = { histories: [history], candidates, runs: 1, budgetMs: 0, settleRuns: 0 };
    const alone = (graph: 'rank' | 'rankKv') => bare[0].run({ graph, ...request }).then(({ scores }) => scores);
    const served = await scoresOf(ours, positions);
    requireEqual(`Rank and the bare graph, ${positions} positions`, served, await alone('rank'), TOLERANCE);
    requireEqual(`rank and rank_kv, ${positions} positions`, served, await alone('rankKv'), TOLERANCE);
    if (!withBaselines) continue;
    for (const names of SAME) {
      const known = names.filter((name) => lengthsOf(name, [positions]).length > 0);
      const [first, ...others] = await Promise.all(known.flatMap((name) => armOf(bench, name)));
      for (const other of others) if (first) await requireSameScores(first, other, positions);
    }
  }
}

/** Returns the arm of a bundle, if the run has it. */
function armOf(bench: Bench, name: TrainedBundleName): Promise<Arm>[] {
  if (name === RECOMMENDED) return [Promise.resolve(bench.ours)];
  return bench.options.baselines.includes(name) ? [bench.arm(name)] : [];
}

/** Throws if two arms of one model give different scores. */
export async function requireSameScores(one: Arm, other: Arm, positions: number): Promise<void> {
  const what = `${one.name} and ${other.name}, ${positions} positions`;
  requireEqual(what, await scoresOf(one, positions), await scoresOf(other, positions), TOLERANCE);
}

async function scoresOf(arm: Arm, positions: number): Promise<Float32Array> {
  await arm.hold(positions);
  return (await arm.rank(positions, CANDIDATES, 0)).scores;
}

/** Throws if scores differ by more than the tolerance, differ in number, are not numbers, or are all equal. */
export function requireEqual(what: string, one: Float32Array, other: Float32Array, tolerance: number): void {
  const difference = one.reduce((most, score, i) => Math.max(most, Math.abs(score - (other[i] ?? Number.NaN))), 0);
  const spread = Math.max(...one) - Math.min(...one);
  if (one.length !== other.length || !(difference <= tolerance)) {
    throw new Error(`not timed: ${what} differ by ${difference} in ${one.length} scores; ${tolerance} is allowed`);
  }
  if (!(spread > tolerance * 10)) throw new Error(`not timed: ${what} prove nothing: all scores are within ${spread}`);
}
