import { join } from 'node:path';
import {
  type BundleModel,
  CkvError,
  float32,
  type GraphName,
  joinScores,
  type Manifest,
  splitCandidates,
} from '@collectivekv/domain';
import type { Engine, GraphSet } from '@collectivekv/engine';
import { type GoldenCase, goldenDifference, readGolden } from './golden.js';
import { type OpenBundle, openBundle } from './open-bundle.js';

/** A bundle with its graphs loaded. */
export interface LoadedBundle {
  readonly dir: string;
  readonly model: BundleModel;
  readonly graphs: GraphSet;
  /** True if golden vectors showed that no score depends on other candidates, so that workers may share a request. */
  readonly splitsCandidates: boolean;
  /** Waits for the runs in flight, then frees the sessions. */
  close(): Promise<void>;
}

/** The part of a bundle that runs one graph at a time. */
export type RunnableBundle = Pick<LoadedBundle, 'model'> & { readonly graphs: Pick<GraphSet, 'run'> };

/** Options of {@link loadBundle}. */
export interface LoadOptions {
  /** The graphs to load. */
  readonly graphs: readonly GraphName[];
  /** True runs the golden vectors of these graphs and refuses the bundle if one differs. */
  readonly verifyGolden: boolean;
}

/**
 * Opens a bundle and loads its graphs.
 * @throws bundle_invalid, also if this machine's runtime does not reproduce the golden vectors; provider_missing
 */
export async function loadBundle(
  dir: string,
  engine: Engine,
  { graphs, verifyGolden }: LoadOptions,
): Promise<LoadedBundle> {
  const bundle = await openBundle(dir);
  const files = graphs.map((graph) => [graph, { path: join(dir, bundle.model.manifest.graphs[graph].file) }] as const);
  const set = await engine.load(Object.fromEntries(files));
  try {
    const splitsCandidates = verifyGolden && (await verify(bundle, set, graphs));
    return { dir, model: bundle.model, graphs: set, splitsCandidates, close: () => set.close() };
  } catch (error) {
    await set.close();
    throw error;
  }
}

/**
 * Runs the golden vectors of the graphs.
 * @returns true if every vector with candidates gives the same scores with its candidates in two parts
 * @throws bundle_invalid if a graph has no golden vector or an output differs
 */
async function verify(bundle: OpenBundle, set: GraphSet, graphs: readonly GraphName[]): Promise<boolean> {
  const { manifest, id } = bundle.model;
  const cases = (await readGolden(bundle)).filter(({ graph }) => graphs.includes(graph));
  const covered = new Set(cases.map(({ graph }) => graph));
  const problems = graphs.filter((graph) => !covered.has(graph)).map((graph) => `${graph} has no golden vector`);
  const splitting: (boolean | undefined)[] = [];
  for (const golden of cases) {
    splitting.push(await splitsCandidates(golden, set, manifest));
    const outputs = await set.run(golden.graph, golden.inputs);
    const difference = goldenDifference(golden, outputs, manifest.golden.tolerance);
    if (difference !== '') problems.push(`${golden.graph} "${golden.name}": ${difference}`);
  }
  if (problems.length > 0) {
    throw new CkvError('bundle_invalid', `bundle ${id} is not reproduced on this machine: ${problems.join('; ')}`);
  }
  return splitting.includes(true) && !splitting.includes(false);
}

/** True if a golden vector gives the same scores in two parts. Undefined if it has no candidates to divide. */
async function splitsCandidates(golden: GoldenCase, set: GraphSet, { graphs, golden: { tolerance } }: Manifest) {
  const { inputs } = graphs[golden.graph];
  const parts = splitCandidates(inputs, structuredClone(golden.inputs), 2);
  const [output] = Object.keys(golden.outputs);
  if (parts.length < 2 || output === undefined) return undefined;
  const scores = joinScores(await set.runEach(golden.graph, parts), output);
  return goldenDifference(golden, { [output]: float32(scores, [scores.length]) }, tolerance) === '';
}
