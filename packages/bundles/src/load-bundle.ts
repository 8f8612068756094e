import { join } from 'node:path';
import {
  CkvError,
  float32,
  type GraphName,
  isClusterInput,
  joinScores,
  type Manifest,
  type PoolTables,
  splitCandidates,
} from '@collectivekv/domain';
import type { Engine, GraphSet } from '@collectivekv/engine';
import { type GoldenCase, goldenDifference, readGolden } from './golden.js';
import type { LoadedBundle } from './loaded-bundle.js';
import { type OpenBundle, openBundle } from './open-bundle.js';
import { readPoolTables } from './read-pool-tables.js';
import { servedProblems } from './verify-served.js';

/** Options of {@link loadBundle}. */
export interface LoadOptions {
  /** The graphs to load. */
  readonly graphs: readonly GraphName[];
  /**
   * True runs the golden vectors of these graphs and refuses the bundle if one differs. With pool tables and the graphs
   * encode and rank, answers the golden requests too, because cluster means are computed outside of the graphs.
   */
  readonly verifyGolden: boolean;
  /** True reads the pool parts that `assembleRank` needs if the bundle has clusterings. Default: false. */
  readonly poolTables?: boolean;
}

/**
 * Opens a bundle, loads its graphs, and makes the golden check: it runs the golden vectors and compares the outputs.
 * @throws bundle_invalid, also if this machine's runtime does not reproduce the golden vectors; provider_missing
 */
export async function loadBundle(
  dir: string,
  engine: Engine,
  { graphs, verifyGolden, poolTables = false }: LoadOptions,
): Promise<LoadedBundle> {
  const bundle = await openBundle(dir);
  const tables = poolTables ? await loadPoolTables(bundle, engine, verifyGolden) : undefined;
  const { set, splitsCandidates } = await loadGraphs(bundle, engine, graphs, verifyGolden);
  const servesRequests = graphs.includes('encode') && graphs.includes('rank');
  if (verifyGolden && tables && servesRequests) await verifyServed(bundle, set, tables);
  return { dir, model: bundle.model, graphs: set, splitsCandidates, poolTables: tables, close: () => set.close() };
}

/** Loads graphs and runs their golden vectors. */
async function loadGraphs(
  bundle: OpenBundle,
  engine: Engine,
  graphs: readonly GraphName[],
  verifyGolden: boolean,
): Promise<{ set: GraphSet; splitsCandidates: boolean }> {
  const { dir, model } = bundle;
  const files = graphs.map((graph) => [graph, { path: join(dir, model.manifest.graphs[graph].file) }] as const);
  const set = await engine.load(Object.fromEntries(files));
  try {
    return { set, splitsCandidates: verifyGolden && (await verify(bundle, set, graphs)) };
  } catch (error) {
    await set.close();
    throw error;
  }
}

/** Reads the pool tables by a gather graph that is loaded for this alone. */
async function loadPoolTables(
  bundle: OpenBundle,
  engine: Engine,
  verifyGolden: boolean,
): Promise<PoolTables | undefined> {
  if (!bundle.model.manifest.graphs.rank.inputs.some(isClusterInput)) return undefined;
  const { set } = await loadGraphs(bundle, engine, ['gather'], verifyGolden);
  try {
    return await readPoolTables(bundle.model, (feeds) => set.run('gather', feeds));
  } finally {
    await set.close();
  }
}

/** Answers the golden requests. If scores differ, frees the graphs and throws bundle_invalid. */
async function verifyServed(bundle: OpenBundle, set: GraphSet, tables: PoolTables): Promise<void> {
  try {
    refuse(bundle, await servedProblems(bundle, set, tables));
  } catch (error) {
    await set.close();
    throw error;
  }
}

/** Throws bundle_invalid if there are problems. */
function refuse({ model }: OpenBundle, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new CkvError('bundle_invalid', `bundle ${model.id} is not reproduced on this machine: ${problems.join('; ')}`);
}

/**
 * Runs the golden vectors of the graphs.
 * @returns true if every vector with candidates gives the same scores with its candidates in two parts
 * @throws bundle_invalid if a graph has no golden vector or an output differs
 */
async function verify(bundle: OpenBundle, set: GraphSet, graphs: readonly GraphName[]): Promise<boolean> {
  const { manifest } = bundle.model;
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
  refuse(bundle, problems);
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
