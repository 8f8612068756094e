import type { Arm, Served } from '../arms.js';
import type { Bench } from '../bench-context.js';
import { type Echo, startEcho } from '../children.js';
import { requireSameScores } from '../integrity.js';
import { lengthsOf } from '../options.js';
import { type RankTimes, rankSerially, timeSerially } from '../rank-loops.js';
import { createRounds, type Rounds } from '../rounds.js';
import { median as medianOf } from '../statistics.js';
import { RECOMMENDED } from '../trained-bundles.js';
import { CANDIDATES, candidatesOf } from '../workload.js';
import { COMPARED_UNDER_LOAD } from './throughput.js';

const SPEEDUPS = [
  ['speedup_full_kv_fp16', 'full_fp16', { 1000: '>= 2', 10000: '>= 12' }],
  ['speedup_full_kv_fp32', 'full_fp32', {}],
  ['speedup_recompute', 'recompute', { 1000: '>= 2', 10000: '>= 12' }],
  ['speedup_recompute_clusters', 'recompute_clusters', {}],
  ['speedup_pool', 'pool', {}],
] as const;
const GROWTHS = [
  [10_000, '<= 1.5'],
  [50_000, '<= 3'],
  [100_000, ''],
] as const;
const STAGES = ['fetch', 'assemble', 'attend', 'service', 'caller'] as const satisfies (keyof RankTimes)[];

const ECHOES = ['unary', 'stream'] as const;

/** Ratios of the recommended bundle, served in other ways, over the bare graph. */
const VARIANTS = [
  { name: 'factored, unary', ratio: 'rank_over_bare_unary' },
  { name: 'factored, unsplit', env: { CKV_PART_CANDIDATES: '0' }, ratio: 'rank_over_bare_unsplit' },
  { name: 'factored, by user-cache', env: { CKV_RECORD_READS: 'user-cache' }, ratio: 'rank_over_bare_by_user_cache' },
];

type Key = readonly [what: string, name: string, positions: number];

/** Measures all arms, the graph alone and an echo by history length, in turn, with one request in flight. */
export async function length(bench: Bench): Promise<void> {
  const { options, ours } = bench;
  const baselines = await Promise.all(options.baselines.map((name) => bench.arm(name)));
  const variants: Arm[] = [];
  for (const { name, env } of options.mode === 'quick' ? [] : VARIANTS) {
    if (!env) continue; // `ours` has it
    const variant = await bench.startArm(name, bench.trained(RECOMMENDED), env);
    for (const positions of lengthsOf(name, options.lengths)) await requireSameScores(ours, variant, positions);
    variants.push(variant);
  }
  const arms: readonly Served[] = [ours, ours.unary, ...variants, ...baselines];
  const echo = await startEcho(candidatesOf(ours.model, CANDIDATES).ids);
  const { calls: runs, budgetMs } = options.warmUp;
  for (const way of ECHOES) await timeSerially(echo[way], { runs, budgetMs: budgetMs / ECHOES.length, settleRuns: 0 });
  const seen = createRounds<Key>();
  for (let round = 0; round <= options.rounds; round++) {
    bench.progress(
      `latency against history length, ${round === 0 ? 'warm-up' : `round ${round} of ${options.rounds}`}`,
    );
    const kept = round === 0 ? createRounds<Key>() : seen;
    for (const positions of options.lengths) await oneRound(bench, arms, { positions, echo, kept });
  }
  echo.close();
  for (const variant of variants) await variant.close();
  await bench.retire(options.baselines.filter((name) => name !== COMPARED_UNDER_LOAD));
  for (const positions of options.lengths) report(bench, arms, positions, seen);
  growth(bench, seen);
}

/** Returns the arms that are measured at a length. */
const armsAt = (arms: readonly Served[], positions: number) =>
  arms.filter(({ name }) => lengthsOf(name, [positions]).length > 0);

async function oneRound(
  { bare, histories, options }: Bench,
  arms: readonly Served[],
  { positions, echo, kept }: { positions: number; echo: Echo; kept: Rounds<Key> },
): Promise<void> {
  const limits = { runs: options.runs, budgetMs: options.sliceMs / 2, settleRuns: options.settleRuns };
  const load = { positions, candidates: CANDIDATES };
  const alone = { graph: 'rank', histories: await histories(positions), candidates: CANDIDATES, ...limits } as const;
  const { times } = await bare[0].run(alone);
  kept.add(['bare', 'graph', positions], medianOf(times));
  for (const way of ECHOES) kept.add(['echo', way, 0], medianOf(await timeSerially(echo[way], limits)));
  for (const arm of armsAt(arms, positions)) {
    await arm.hold(positions);
    const ranks = await rankSerially(arm, load, limits);
    for (const stage of STAGES) {
      kept.add([stage, arm.name, positions], medianOf(ranks.times.map((times) => times[stage])));
    }
    kept.add(['runs', arm.name, positions], ranks.times.length);
    for (const [service, seconds] of ranks.cpuSeconds) kept.add([`cpu ${service}`, arm.name, positions], seconds);
  }
}

function report(bench: Bench, arms: readonly Served[], positions: number, seen: Rounds<Key>): void {
  const common = { candidates: CANDIDATES, positions };
  const p50Of = (arm: string): Key => ['caller', arm, positions];
  const bareOf: Key = ['bare', 'graph', positions];
  bench.add('bare_graph_p50', common, seen.median(bareOf), 'ms');
  for (const { name: arm } of armsAt(arms, positions)) {
    bench.add('rank_p50', { arm, ...common }, seen.median(p50Of(arm)), 'ms');
    const cpuMs = (1_000 * seen.sum(['cpu ranking', arm, positions])) / seen.sum(['runs', arm, positions]);
    bench.add('rank_cpu', { arm, service: 'ranking', ...common }, cpuMs, 'ms');
    for (const stage of STAGES.slice(0, -1)) {
      bench.add('rank_stage_p50', { arm, stage, ...common }, seen.median([stage, arm, positions]), 'ms');
    }
  }
  bench.add('rank_over_bare', common, seen.ratio(p50Of(RECOMMENDED), bareOf), '', positions === 1_000 ? '<= 1.35' : '');
  const measured = armsAt(arms, positions).map(({ name }) => name);
  for (const { name, ratio } of VARIANTS) {
    if (measured.includes(name)) bench.add(ratio, common, seen.ratio(p50Of(name), bareOf));
  }
  for (const [name, arm, targets] of SPEEDUPS) {
    if (!measured.includes(arm)) continue;
    const target = Object.entries(targets).find(([length]) => Number(length) === positions)?.[1];
    bench.add(name, common, seen.ratio(p50Of(arm), p50Of(RECOMMENDED)), '', target);
  }
}

function growth(bench: Bench, seen: Rounds<Key>): void {
  for (const way of ECHOES) bench.add('echo_p50', { way, candidates: CANDIDATES }, seen.median(['echo', way, 0]), 'ms');
  if (!bench.options.lengths.includes(1_000)) return;
  for (const [positions, target] of GROWTHS) {
    if (!bench.options.lengths.includes(positions)) continue;
    const ratio = seen.ratio(['caller', RECOMMENDED, positions], ['caller', RECOMMENDED, 1_000]);
    bench.add('length_growth', { positions, over: 1_000 }, ratio, '', target);
  }
}
