import { POOL_SLOTS } from '../bench-bundles.js';
import type { Bench } from '../bench-context.js';
import { startBareGraph } from '../children.js';
import { createRounds } from '../rounds.js';
import { median } from '../statistics.js';
import { CANDIDATES } from '../workload.js';

const TARGETS: Record<number, string> = { 1000: '>= 2', 10000: '>= 20', 50000: '>= 80' };
/** A run over assembled positions takes 0.2 s at this length. */
const LONGEST = 50_000;
const GRAPHS = ['rank', 'rankKv'] as const;

/** Compares the graph over distinct slots with the graph over assembled positions, each alone on one thread. */
export async function collapse(bench: Bench): Promise<void> {
  const { options } = bench;
  const { dir, histories } = bench.random('shared');
  const lengths = options.lengths.filter((positions) => positions <= LONGEST);
  const bare = await startBareGraph(dir);
  const seen = createRounds<readonly [graph: string, positions: number]>();
  for (let round = 0; round <= options.rounds; round++) {
    bench.progress(`collapse, ${round === 0 ? 'warm-up' : `round ${round} of ${options.rounds}`}`);
    for (const positions of lengths) {
      for (const graph of GRAPHS) {
        const limits = { runs: options.runs, budgetMs: options.sliceMs / 3, settleRuns: 1 };
        const request = { graph, histories: await histories(positions, 1), candidates: CANDIDATES, ...limits };
        const { times } = await bare.run(request);
        if (round > 0) seen.add([graph, positions], median(times));
      }
    }
  }
  bare.close();
  for (const positions of lengths) {
    const about = { positions, pool: POOL_SLOTS, 'user head': 'coded', threads: 1 };
    bench.add('assembled_graph_p50', about, seen.median(['rankKv', positions]), 'ms');
    bench.add('collapsed_graph_p50', about, seen.median(['rank', positions]), 'ms');
    const speedup = seen.ratio(['rankKv', positions], ['rank', positions]);
    bench.add('collapse_speedup', about, speedup, '', TARGETS[positions]);
  }
}
