import type { CandidateExplanation, CollectiveKvClient, Explanation, RankDetails } from '@collectivekv/client';
import { CkvError } from '@collectivekv/domain';
import type { AnswerView, ExplainedItemView, ExplainView, RankView } from '../views.js';
import { runsOf } from './runs.js';

/** Which items to score for whom. */
export interface ScoreQuery {
  readonly userId: string;
  readonly itemIds: readonly string[];
  /** '' is the bundle that serves the user. */
  readonly bundleId: string;
}

/** Bars of a picture. The contributions of a longer history are added up. */
const MOST_RUNS = 256;
/** Newest positions whose group is told. */
const MOST_GROUPED = 1_000;

/** Scores items for a user, best first. */
export async function scoreItems(
  ranking: CollectiveKvClient,
  query: ScoreQuery,
  signal: AbortSignal,
): Promise<RankView> {
  const { ranked, info } = await ranking.rank(requestOf(query), { signal });
  return { answer: answerOf(info), ranked: ranked.map(({ itemId, score }) => ({ itemId, score })) };
}

/**
 * Scores items for a user, and says what each score comes from.
 * @throws invalid_request if the ranking service explains no scores
 */
export async function explainItems(
  ranking: CollectiveKvClient,
  query: ScoreQuery,
  signal: AbortSignal,
): Promise<ExplainView> {
  const { scores, info, explanation } = await ranking.rank({ ...requestOf(query), explain: true }, { signal });
  if (!explanation) throw new CkvError('invalid_request', 'the ranking service explains no scores; update it');
  const groups = groupsOf(explanation);
  const items = explanation.candidates.map((candidate, i) =>
    itemOf(candidate, { itemId: query.itemIds[i] ?? '', score: scores[i] ?? 0 }, groups),
  );
  const newest = Array.from(groups.ofPosition.entries()).slice(-MOST_GROUPED);
  return {
    answer: answerOf(info),
    method: explanation.method,
    parts: explanation.parts.map(({ name, headCount }) => ({ name, headCount })),
    items: items.sort((a, b) => b.score - a.score),
    groups: Object.fromEntries(newest),
    groupCount: groups.sizes.size,
  };
}

function requestOf({ userId, itemIds, bundleId }: ScoreQuery) {
  return { userId, candidateIds: itemIds, ...(bundleId === '' ? {} : { bundleId }) };
}

function answerOf(info: RankDetails): AnswerView {
  return {
    bundleId: info.bundleId,
    positionCount: info.positionCount,
    rung: info.rung,
    rungReason: info.rungReason,
    coldUser: info.coldUser,
    canaryShareBp: info.canaryShareBp,
    unknownItems: info.unknownCandidateCount,
    tookMs: (info.timings?.totalUs ?? 0) / 1_000,
  };
}

/** The groups of positions: attention reads those of one group as one. */
interface Groups {
  readonly ofPosition: Uint32Array; // [positions]
  readonly sizes: ReadonlyMap<number, number>;
}

function groupsOf({ groups }: Explanation): Groups {
  const sizes = new Map<number, number>();
  for (const group of groups) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  return { ofPosition: groups, sizes };
}

function itemOf(
  candidate: CandidateExplanation,
  scored: { readonly itemId: string; readonly score: number },
  { ofPosition, sizes }: Groups,
): ExplainedItemView {
  const { contributions, ownContributions } = candidate;
  const shared = contributions.map((all, i) => all - (ownContributions[i] ?? 0));
  const [sharedRuns, ownRuns] = [runsOf(shared, MOST_RUNS), runsOf(ownContributions, MOST_RUNS)];
  return {
    ...scored,
    scoreWithoutHistory: candidate.scoreWithoutHistory,
    shared: sumOf(shared),
    own: sumOf(ownContributions),
    runs: { size: sharedRuns.size, shared: sharedRuns.sums, own: ownRuns.sums },
    positions: candidate.positions.map((one) => {
      const group = ofPosition[one.index] ?? null;
      return {
        index: one.index,
        itemId: one.itemId,
        values: one.values,
        shared: one.contribution - one.ownContribution,
        own: one.ownContribution,
        attention: one.attention.reduce((most, weight) => Math.max(most, weight), 0),
        scoreWithout: one.scoreWithout,
        group,
        groupSize: group === null ? null : (sizes.get(group) ?? 1),
      };
    }),
  };
}

function sumOf(numbers: Float32Array): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}
