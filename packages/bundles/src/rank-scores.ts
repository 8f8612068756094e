import { CkvError, candidateCount, joinScores, splitCandidates, type Tensors } from '@collectivekv/domain';
import type { RunLimits } from '@collectivekv/engine';
import type { LoadedBundle } from './loaded-bundle.js';

/** The scores of a rank graph. */
export interface RankScores {
  readonly scores: Float32Array; // [candidates]
  /** Graph runs that scored the candidates, each a part of them. */
  readonly partCount: number;
}

/** Options of {@link rankScores}. */
export interface RankOptions {
  /** Fewest candidates of a part; 0 never splits a request. */
  readonly partCandidates: number;
  /** True shares no run with other users, so that the same run can be repeated. Default: false. */
  readonly alone?: boolean;
  readonly limits?: RunLimits;
}

/**
 * Runs a rank graph. Idle workers share the candidates if no score depends on other candidates. The scores of the parts
 * are those of one run, except for rounding, because runs differ in shape.
 * @throws as GraphSet.run does; bug if a score is missing or NaN
 */
export async function rankScores(
  { model, graphs, splitsCandidates }: Pick<LoadedBundle, 'model' | 'graphs' | 'splitsCandidates'>,
  graph: 'rank' | 'rankKv',
  feeds: Tensors,
  { partCandidates, alone = false, limits }: RankOptions,
): Promise<RankScores> {
  const { inputs, outputs } = model.manifest.graphs[graph];
  const count = candidateCount(inputs, feeds);
  const most = splitsCandidates && partCandidates > 0 ? Math.floor(count / partCandidates) : 1;
  const parts = splitCandidates(inputs, feeds, Math.min(most, graphs.idleWorkerCount));
  const name = outputs[0]?.name ?? '';
  const scores = joinScores(await graphs.runEach(graph, parts, limits, alone), name);
  if (scores.length !== count) {
    throw new CkvError('bug', `the rank graph answered ${scores.length} scores for ${count} candidates`);
  }
  if (hasNaN(scores)) throw new CkvError('bug', 'the rank graph answered NaN');
  return { scores, partCount: parts.length };
}

/** True if a score is NaN. `some` would make an object of each score. */
function hasNaN(scores: Float32Array): boolean {
  for (let i = 0; i < scores.length; i++) if (Number.isNaN(scores[i])) return true;
  return false;
}
