import { CkvError, candidateCount, joinScores, splitCandidates, type Tensors } from '@collectivekv/domain';
import type { RunLimits } from '@collectivekv/engine';
import type { LoadedBundle } from './load-bundle.js';

/** What a rank graph answered. */
export interface RankScores {
  readonly scores: Float32Array; // [candidates]
  /** Runs that the candidates were shared between. */
  readonly partCount: number;
}

/** Options of {@link rankScores}. */
export interface RankOptions {
  /** Candidates that a part has at least; 0 never splits. */
  readonly partCandidates: number;
  readonly limits?: RunLimits;
}

/**
 * Runs a rank graph. Where workers are idle they share the candidates, if the bundle allows it: each candidate's score is
 * its own, so the parts' scores are the whole's but for the rounding of differently shaped runs.
 * @throws what a run throws; bug for scores that are none
 */
export async function rankScores(
  { model, graphs, splitsCandidates }: Pick<LoadedBundle, 'model' | 'graphs' | 'splitsCandidates'>,
  graph: 'rank' | 'rankKv',
  feeds: Tensors,
  { partCandidates, limits }: RankOptions,
): Promise<RankScores> {
  const { inputs, outputs } = model.manifest.graphs[graph];
  const count = candidateCount(inputs, feeds);
  const most = splitsCandidates && partCandidates > 0 ? Math.floor(count / partCandidates) : 1;
  const parts = splitCandidates(inputs, feeds, Math.min(most, graphs.idleWorkerCount));
  const name = outputs[0]?.name ?? '';
  const scores = joinScores(await graphs.runEach(graph, parts, limits), name);
  if (scores.length !== count) {
    throw new CkvError('bug', `the rank graph answered ${scores.length} scores for ${count} candidates`);
  }
  if (scores.some((score) => Number.isNaN(score))) throw new CkvError('bug', 'the rank graph answered NaN');
  return { scores, partCount: parts.length };
}
