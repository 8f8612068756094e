import type { LoadedBundle } from '@collectivekv/bundles';
import { assembleExplain, type Candidates, CkvError, type Manifest, type Tensors } from '@collectivekv/domain';
import type { RankLimits } from '../rank-query.js';
import type { AttentionPart } from './explanation.js';
import { inBackground } from './in-background.js';

/** What the explain graph says of a request's candidates. */
export interface Attribution {
  readonly baseScores: Float32Array; // [candidates], without any position
  readonly contributions: Float32Array; // [candidates * positions]
  readonly ownContributions: Float32Array; // [candidates * positions]
  readonly parts: readonly AttentionPart[];
  /** The group of each position. */
  readonly groups: Uint32Array; // [positions]
  /** Returns the weights of all heads for a position. */
  attention(candidate: number, position: number): Float32Array; // [heads of all parts]
}

/** Arguments of {@link attribute}. */
export interface AttributionParts {
  readonly bundle: LoadedBundle;
  readonly rows: Uint8Array; // [positions, stride], oldest first
  readonly candidates: Candidates;
  readonly limits: RankLimits;
}

type Output = NonNullable<Manifest['graphs']['explain']>['outputs'][number];

/**
 * Runs the explain graph of a bundle that has one.
 * @throws record_corrupt for a route beyond the pool; as GraphSet.run does; bug if an output has another size
 */
export async function attribute({ bundle, rows, candidates, limits }: AttributionParts): Promise<Attribution> {
  const { model, graphs, poolTables } = bundle;
  const outputs = model.manifest.graphs.explain?.outputs ?? [];
  const candidateCount = candidates.itemIndices.length;
  const positionCount = rows.length / model.layout.strideBytes;
  const feeds = assembleExplain(model, rows, candidates, poolTables);
  const groups = groupsOf(model.manifest, feeds, positionCount); // before the feeds go to a worker
  const answers = await graphs.run('explain', feeds, inBackground(limits));
  const read = (output: Output | undefined, length: number) => floatsOf(answers, output, length);
  const one = (role: Output['role'], length: number) =>
    read(
      outputs.find((output) => output.role === role),
      length,
    );
  const parts = outputs.flatMap((output) => {
    if (output.role !== 'attention') return [];
    const headCount = answers[output.name]?.shape[1] ?? 0;
    const weights = read(output, candidateCount * headCount * positionCount);
    return [{ name: output.part, headCount, weights }];
  });
  return {
    baseScores: one('base_scores', candidateCount),
    contributions: one('contributions', candidateCount * positionCount),
    ownContributions: one('own_contributions', candidateCount * positionCount),
    parts: parts.map(({ name, headCount }) => ({ name, headCount })),
    groups,
    attention(candidate, position) {
      const heads = parts.flatMap(({ headCount, weights }) =>
        Array.from({ length: headCount }, (_, head) => {
          return weights[(candidate * headCount + head) * positionCount + position] ?? 0;
        }),
      );
      return Float32Array.from(heads);
    },
  };
}

/** Returns the place of each position's slot or cluster. If the graph reads positions, each is a group of its own. */
function groupsOf({ graphs }: Manifest, feeds: Tensors, positionCount: number): Uint32Array {
  const input = graphs.explain?.inputs.find(({ role }) => role === 'slot_places' || role === 'cluster_places');
  const places = input && feeds[input.name]?.data;
  return Uint32Array.from({ length: positionCount }, (_, i) => (places ? Number(places[i]) : i));
}

function floatsOf(answers: Tensors, output: Output | undefined, length: number): Float32Array {
  const answer = answers[output?.name ?? ''];
  if (answer?.type === 'float32' && answer.data.length === length) return answer.data;
  throw new CkvError('bug', `the explain graph gave no output ${output?.name} of ${length} numbers`);
}
