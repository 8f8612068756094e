import { type LoadedBundle, rankScores } from '@collectivekv/bundles';
import { assembleRank, type Candidates } from '@collectivekv/domain';
import type { PoolRows } from '../attention/pool-rows.js';
import type { RankLimits } from '../rank-query.js';
import { inBackground } from './in-background.js';

/** Scores the candidates of a request over a history that has some of the request's positions. */
export type Rescore = (rows: Uint8Array) => Promise<Float32Array>;

/** Arguments of {@link createRescore}. */
export interface RescoreParts {
  readonly bundle: LoadedBundle;
  readonly rows: Uint8Array; // [positions, stride], oldest first
  readonly candidates: Candidates;
  /** Gathers pool rows over the network; undefined if the rank graph contains the pool. */
  readonly poolRows: PoolRows | undefined;
  readonly limits: RankLimits;
}

/**
 * Returns a function that scores by the rank graph, as the request was scored. In remote mode gathers the pool rows of
 * all positions once.
 * @throws as rankScores does; the failure to gather
 */
export async function createRescore({ bundle, rows, candidates, poolRows, limits }: RescoreParts): Promise<Rescore> {
  const { model, poolTables } = bundle;
  const options = { partCandidates: 0, limits: inBackground(limits) };
  const gathered = await poolRows?.gather(model, rows, limits);
  return async (some) => {
    if (limits.ended) throw limits.ended;
    if (poolRows && gathered) {
      const feeds = poolRows.assemble(model, some, gathered, candidates);
      return (await rankScores(bundle, 'rankKv', feeds, options)).scores;
    }
    const feeds = assembleRank(model, some, candidates, poolTables);
    return (await rankScores(bundle, 'rank', feeds, options)).scores;
  };
}
