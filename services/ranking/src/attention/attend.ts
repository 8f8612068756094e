import { type LoadedBundle, type RankScores, rankScores } from '@collectivekv/bundles';
import { assembleRank, type Candidates, type Reason, type Tensors } from '@collectivekv/domain';
import { degradedBy, halfTimeLeft } from '../degradation.js';
import type { HistoryPolicy, RankLimits } from '../rank-query.js';
import type { Stopwatch } from '../stage-timings.js';
import type { PoolRows } from './pool-rows.js';

/** Scores, and what they were computed from. */
export interface Attended extends RankScores {
  /** Positions attended to: all of the history, or none if its pool rows are missing or a route is beyond the pool. */
  readonly positionCount: number;
  /** Why no position was attended to; undefined if all were. */
  readonly missing: Reason | undefined;
}

/** Arguments of {@link attend}. */
export interface Attention {
  readonly bundle: LoadedBundle;
  readonly rows: Uint8Array; // [positions, stride], oldest first
  readonly candidates: Candidates;
  readonly historyPolicy: HistoryPolicy;
  /** Gathers pool rows over the network; undefined if the rank graph contains the pool. */
  readonly poolRows: PoolRows | undefined;
  /** Fewest candidates of a part if idle workers share the request; 0 never splits it. */
  readonly partCandidates: number;
  /** True shares no run with other users. */
  readonly alone: boolean;
  readonly limits: RankLimits;
  readonly stopwatch: Stopwatch;
}

/**
 * Assembles the inputs of the rank graph and runs it. In remote mode gathers the pool rows first, which may take half
 * of the time that is left until the request's deadline. If that fails, or a route is beyond the pool, attends to no
 * positions.
 * @throws as rankScores does; the failure to gather or to assemble, if `degradedBy` does not excuse it
 */
export async function attend(attention: Attention): Promise<Attended> {
  const { bundle, rows, candidates, poolRows, partCandidates, alone, limits, stopwatch } = attention;
  const run = (graph: 'rank' | 'rankKv', feeds: Tensors) =>
    stopwatch.time('attend', () => rankScores(bundle, graph, feeds, { partCandidates, alone, limits }));
  const positionCount = rows.length / bundle.model.layout.strideBytes;
  if (!poolRows) {
    const feedsOf = (positions: Uint8Array) => assembleRank(bundle.model, positions, candidates, bundle.poolTables);
    const feeds = await stopwatch
      .time('assemble', () => feedsOf(rows))
      .catch((thrown: unknown) => degradedBy(thrown, attention.historyPolicy));
    if (typeof feeds !== 'string') return { ...(await run('rank', feeds)), positionCount, missing: undefined };
    return { ...(await run('rank', feedsOf(new Uint8Array(0)))), positionCount: 0, missing: feeds };
  }
  const gathered = await stopwatch
    .time('gather', () => {
      const deadlineMs = halfTimeLeft(limits.deadlineMs);
      return poolRows.gather(bundle.model, rows, { ...limits, deadlineMs });
    })
    .catch((thrown: unknown) => degradedBy(thrown, attention.historyPolicy));
  if (typeof gathered === 'string') {
    const feeds = poolRows.assemble(bundle.model, new Uint8Array(0), new Map(), candidates);
    return { ...(await run('rankKv', feeds)), positionCount: 0, missing: gathered };
  }
  const feeds = await stopwatch.time('assemble', () => poolRows.assemble(bundle.model, rows, gathered, candidates));
  return { ...(await run('rankKv', feeds)), positionCount, missing: undefined };
}
