import {
  assembleRank,
  type BundleModel,
  type Candidates,
  type Feature,
  float32,
  newestRows,
  type PoolTables,
} from '@collectivekv/domain';
import type { GraphSet } from '@collectivekv/engine';
import { encodeRows } from './encode-rows.js';
import { goldenDifference, readServedGolden, type ServedCase } from './golden.js';
import type { OpenBundle } from './open-bundle.js';

/**
 * Answers a bundle's golden requests as ranking does: encodes the histories, computes cluster means, and scores.
 * @param set has the graphs encode and rank
 * @returns a text for each request whose scores differ from PyTorch's
 */
export async function servedProblems(bundle: OpenBundle, set: GraphSet, tables: PoolTables): Promise<string[]> {
  const { model } = bundle;
  const { graphs, golden, maxPositions } = model.manifest;
  const name = graphs.rank.outputs[0]?.name ?? '';
  const inBackground: Pick<GraphSet, 'run'> = { run: (graph, feeds) => set.run(graph, feeds, { background: true }) };
  const problems: string[] = [];
  for (const served of await readServedGolden(bundle)) {
    const history = served.interactions.map((one, i) => ({ ...one, userId: 'golden', eventId: `golden-${i}` }));
    const rows = newestRows(model.layout, await encodeRows({ model, graphs: inBackground }, history), maxPositions);
    const outputs = await inBackground.run('rank', assembleRank(model, rows, candidatesOf(model, served), tables));
    const scores = float32(Float32Array.from(served.scores), [served.scores.length]);
    const difference = goldenDifference({ outputs: { [name]: scores } }, outputs, golden.tolerance);
    if (difference !== '') problems.push(`request "${served.name}": ${difference}`);
  }
  return problems;
}

function candidatesOf({ items, manifest }: BundleModel, served: ServedCase): Candidates {
  const count = served.candidateIds.length;
  const column = ({ name, default: value }: Feature) =>
    Float32Array.from(served.candidateFeatures[name] ?? Array<number>(count).fill(value));
  const { candidate, context } = manifest.features;
  return {
    itemIndices: Int32Array.from(served.candidateIds, (id) => items.indexOf(id)),
    columns: Object.fromEntries(candidate.map((feature) => [feature.name, column(feature)])),
    context: Object.fromEntries(
      context.map(({ name, default: value }) => [name, served.contextFeatures[name] ?? value]),
    ),
  };
}
