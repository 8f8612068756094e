import type { LoadedBundle } from '@collectivekv/bundles';
import { type Candidates, CkvError, LIMITS } from '@collectivekv/domain';
import type { PoolRows } from '../attention/pool-rows.js';
import type { RankLimits } from '../rank-query.js';
import { type Attribution, attribute } from './explain-graph.js';
import type { CandidateExplanation, Explanation } from './explanation.js';
import { contentsOf, withoutPosition } from './position-contents.js';
import { createRescore, type Rescore } from './rescore.js';

/** Largest difference between a score and the sum of its parts. */
const SUMS_WITHIN = 1e-4;

/** A scored request to explain. */
export interface ScoredRequest {
  readonly bundle: LoadedBundle;
  /** The positions that the scores were computed from. */
  readonly rows: Uint8Array; // [positions, stride], oldest first
  readonly candidates: Candidates;
  readonly scores: Float32Array; // [candidates]
  readonly limits: RankLimits;
}

/** Explains scores. */
export interface Explainer {
  /**
   * Explains the scores of a request: by the bundle's explain graph if it is loaded, and by scores without single
   * positions. Its graph runs come one after the other on the spare worker, so that other requests do not wait.
   * @throws as rankScores does; bug if contributions do not add up to a score
   */
  explain(request: ScoredRequest): Promise<Explanation>;
}

/** Parts of an explainer. */
export interface ExplainerParts {
  /** Gathers pool rows over the network; undefined if the rank graph contains the pool. */
  readonly poolRows: PoolRows | undefined;
  /** True if the explain graph is loaded of bundles that have one. */
  readonly explains: boolean;
}

/** Creates an explainer. */
export function createExplainer({ poolRows, explains }: ExplainerParts): Explainer {
  return {
    async explain(request) {
      const { bundle, rows, limits } = request;
      const rescore = await createRescore({ ...request, poolRows });
      if (explains && bundle.model.manifest.graphs.explain) {
        return byAttention(request, await attribute({ ...request, limits }), rescore);
      }
      return byLeavingOut(request, await rescore(rows.subarray(0, 0)), rescore);
    },
  };
}

/** Shows the positions with the largest contributions. */
async function byAttention(request: ScoredRequest, found: Attribution, rescore: Rescore): Promise<Explanation> {
  const { parts, groups } = found;
  const positionCount = groups.length;
  const draft = Array.from(request.scores, (score, candidate) => {
    const own = (all: Float32Array) => all.slice(candidate * positionCount, (candidate + 1) * positionCount);
    const contributions = own(found.contributions);
    const ownContributions = own(found.ownContributions);
    const scoreWithoutHistory = found.baseScores[candidate] ?? 0;
    requireSum(score, scoreWithoutHistory, contributions);
    return { scoreWithoutHistory, contributions, ownContributions, shown: largest(contributions) };
  });
  const scoresWithout = await leaveOut(
    request,
    draft.flatMap(({ shown }) => shown),
    rescore,
  );
  const candidates = draft.map(({ shown, ...rest }, candidate): CandidateExplanation => {
    const positions = shown.map((index) => ({
      ...contentsOf(request.bundle.model, request.rows, index),
      index,
      attention: found.attention(candidate, index),
      contribution: rest.contributions[index] ?? 0,
      ownContribution: rest.ownContributions[index] ?? 0,
      scoreWithout: scoresWithout.get(index)?.[candidate] ?? 0,
    }));
    return { ...rest, positions };
  });
  return { method: 'attention', parts, groups, candidates };
}

/** Shows the newest positions. */
async function byLeavingOut(request: ScoredRequest, baseScores: Float32Array, rescore: Rescore): Promise<Explanation> {
  const { bundle, rows, scores } = request;
  const positionCount = rows.length / bundle.model.layout.strideBytes;
  const shownCount = Math.min(positionCount, LIMITS.explainedPositions);
  const shown = Array.from({ length: shownCount }, (_, i) => positionCount - 1 - i);
  const scoresWithout = await leaveOut(request, shown, rescore);
  const nothing = new Float32Array(0);
  const candidates = Array.from(scores, (_, candidate): CandidateExplanation => {
    const positions = shown.map((index) => ({
      ...contentsOf(bundle.model, rows, index),
      index,
      attention: nothing,
      contribution: 0,
      ownContribution: 0,
      scoreWithout: scoresWithout.get(index)?.[candidate] ?? 0,
    }));
    const scoreWithoutHistory = baseScores[candidate] ?? 0;
    return { scoreWithoutHistory, contributions: nothing, ownContributions: nothing, positions };
  });
  return { method: 'leave_one_out', parts: [], groups: new Uint32Array(0), candidates };
}

/** Returns the scores of all candidates without each of some positions, by the position's index. */
async function leaveOut(
  { bundle: { model }, rows }: ScoredRequest,
  indices: readonly number[],
  rescore: Rescore,
): Promise<ReadonlyMap<number, Float32Array>> {
  const scores = new Map<number, Float32Array>();
  for (const index of new Set(indices)) {
    scores.set(index, await rescore(withoutPosition(model.layout, rows, index)));
  }
  return scores;
}

/** Returns the indices of the positions that add most to the score, or take most from it. The newer of equal ones. */
function largest(contributions: Float32Array): number[] {
  const sizes = contributions.map(Math.abs);
  return Array.from(sizes.keys())
    .sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0) || b - a)
    .slice(0, LIMITS.explainedPositions);
}

function requireSum(score: number, base: number, contributions: Float32Array): void {
  const sum = contributions.reduce((total, one) => total + one, base);
  if (Math.abs(sum - score) <= SUMS_WITHIN) return;
  throw new CkvError('bug', `the parts of a score add up to ${sum}, not to ${score}`);
}
