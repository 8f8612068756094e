import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CkvError,
  float32,
  type GraphName,
  type GraphSpec,
  graphNamesOf,
  isClusterInput,
  joinScores,
  type Manifest,
  type PoolTables,
  splitCandidates,
  toCkvError,
} from '@collectivekv/domain';
import type { Engine, GraphFile, GraphSet } from '@collectivekv/engine';
import type { BundleTrust } from './bundle-trust.js';
import { type GoldenCase, goldenDifference, readGolden } from './golden.js';
import { type BatchUsers, joinUsers } from './join-users.js';
import type { LoadedBundle } from './loaded-bundle.js';
import type { OpenBundle } from './open-bundle.js';
import { openPrivateCopy, type PrivateCopy } from './private-copy.js';
import { readPoolTables } from './read-pool-tables.js';
import { servedProblems } from './verify-served.js';

/** Golden runs let requests for other bundles pass. */
const BACKGROUND = { background: true };

/** Options of {@link loadBundle}. */
export interface LoadOptions {
  /** The graphs to load. Those that the bundle does not have are left out: `explain`, `rankBatch`. */
  readonly graphs: readonly GraphName[];
  /**
   * True runs the golden vectors of these graphs and refuses the bundle if one differs. With pool tables and the graphs
   * encode and rank, answers the golden requests too, because cluster means are computed outside of the graphs.
   */
  readonly verifyGolden: boolean;
  /**
   * Folder for a private copy of the files while the graphs are loaded. Default: the system's folder for temporary
   * files.
   */
  readonly privateDir?: string;
  /** True reads the pool parts that `assembleRank` needs if the bundle has clusterings. Default: false. */
  readonly poolTables?: boolean;
  /** Checks the signatures of the bundle. Default: every bundle is trusted. */
  readonly trust?: BundleTrust | undefined;
  /** Most users of a run of the graph `rank`. Above 1, loads `rankBatch` beside it. Default: 1. */
  readonly batchUsers?: BatchUsers;
}

/**
 * Opens a bundle, loads its graphs, and makes the golden check: it runs the golden vectors and compares the outputs.
 * The loaded bundle does not need the folder: it runs on a private copy.
 * @throws bundle_untrusted; bundle_invalid, also if this machine's runtime does not reproduce the golden vectors;
 * provider_missing; the errors of {@link openPrivateCopy}
 */
export async function loadBundle(dir: string, engine: Engine, options: LoadOptions): Promise<LoadedBundle> {
  const privateDir = options.privateDir ?? tmpdir();
  const { bundle, remove } = await openPrivateCopy(dir, privateDir, options.trust);
  try {
    return { dir, ...(await loadCopy(bundle, engine, options, () => copyAgain(dir, privateDir, bundle))) };
  } catch (thrown) {
    throw blamingBundle(bundle, thrown);
  } finally {
    await remove();
  }
}

/**
 * Returns the error of a bundle that cannot be loaded. Its graphs, golden vectors and tables come from its files, so
 * whatever fails while they are first read and run is the bundle's fault: bundle_invalid instead of a bug.
 */
function blamingBundle({ model }: OpenBundle, thrown: unknown): CkvError {
  const error = toCkvError(thrown);
  if (error.reason !== 'bug') return error;
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  const problem = `bundle ${model.id} does not run on this machine: ${why}; export the bundle again`;
  return new CkvError('bundle_invalid', problem, { cause: thrown });
}

/** Makes a private copy of the files, for a worker that starts after the first copy was removed. */
type CopyAgain = () => Promise<PrivateCopy>;

async function copyAgain(dir: string, privateDir: string, { manifestBytes, model }: OpenBundle): Promise<PrivateCopy> {
  const copy = await openPrivateCopy(dir, privateDir);
  if (copy.bundle.manifestBytes.equals(manifestBytes)) return copy; // the bundle whose signatures were checked
  await copy.remove();
  const problem = `${dir} holds bundle ${copy.bundle.model.id} now, not ${model.id}; restart the service`;
  throw new CkvError('bundle_invalid', problem);
}

async function loadCopy(
  bundle: OpenBundle,
  engine: Engine,
  { graphs: named, verifyGolden, poolTables = false, batchUsers = 1 }: LoadOptions,
  again: CopyAgain,
): Promise<Omit<LoadedBundle, 'dir'>> {
  const joins = batchUsers !== 1 && named.includes('rank');
  const wanted = new Set<GraphName>([...named, ...(joins ? (['rankBatch'] as const) : [])]);
  const graphs = [...wanted].filter((graph) => graphNamesOf(bundle.model.manifest).includes(graph));
  const tables = poolTables ? await loadPoolTables(bundle, engine, verifyGolden, again) : undefined;
  const { set, splitsCandidates } = await loadGraphs(bundle, engine, { graphs, verifyGolden, again });
  try {
    const servesRequests = graphs.includes('encode') && graphs.includes('rank');
    if (verifyGolden && tables && servesRequests) refuse(bundle, await servedProblems(bundle, set, tables));
    const joinedUsers = joins ? await joinUsers(bundle, set, { batchUsers, device: engine.device }) : undefined;
    const { model, manifestBytes } = bundle;
    const close = () => set.close();
    return { model, manifestBytes, graphs: set, splitsCandidates, joinedUsers, poolTables: tables, close };
  } catch (error) {
    await set.close();
    throw error;
  }
}

/** Loads graphs and runs their golden vectors. */
async function loadGraphs(
  bundle: OpenBundle,
  engine: Engine,
  { graphs, verifyGolden, again }: Pick<LoadOptions, 'graphs' | 'verifyGolden'> & { readonly again: CopyAgain },
): Promise<{ set: GraphSet; splitsCandidates: boolean }> {
  const files = graphs.map((graph) => [graph, graphFile(bundle, graph, again)] as const);
  const golden = verifyGolden ? await readGolden(bundle) : [];
  const warmUps = golden.filter(isFirstOf(graphs)).map(({ graph, inputs }) => ({ graph, feeds: inputs }));
  const set = await engine.load(Object.fromEntries(files), { warmUps });
  try {
    return { set, splitsCandidates: verifyGolden && (await verify(bundle, golden, set, graphs)) };
  } catch (error) {
    await set.close();
    throw error;
  }
}

/** Returns a filter for the first golden vector of each of these graphs. */
function isFirstOf(graphs: readonly GraphName[]): (golden: GoldenCase) => boolean {
  const left = new Set(graphs);
  return ({ graph }) => left.delete(graph);
}

/** Returns a graph that the bundle has. */
function graphOf({ graphs }: Manifest, name: GraphName): GraphSpec {
  const graph = graphs[name];
  if (!graph) throw new CkvError('bug', `the bundle has no graph ${name}`);
  return graph;
}

function graphFile({ dir, model }: OpenBundle, graph: GraphName, again: CopyAgain): GraphFile {
  const { file } = graphOf(model.manifest, graph);
  const reopen = async () => {
    const copy = await again();
    return { path: join(copy.bundle.dir, file), close: copy.remove };
  };
  return { path: join(dir, file), reopen };
}

/** Reads the pool tables by a gather graph that is loaded for this alone. */
async function loadPoolTables(
  bundle: OpenBundle,
  engine: Engine,
  verifyGolden: boolean,
  again: CopyAgain,
): Promise<PoolTables | undefined> {
  if (!bundle.model.manifest.graphs.rank.inputs.some(isClusterInput)) return undefined;
  const { set } = await loadGraphs(bundle, engine, { graphs: ['gather'], verifyGolden, again });
  try {
    return await readPoolTables(bundle.model, (feeds) => set.run('gather', feeds, BACKGROUND));
  } finally {
    await set.close();
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
async function verify(
  bundle: OpenBundle,
  golden: readonly GoldenCase[],
  set: GraphSet,
  graphs: readonly GraphName[],
): Promise<boolean> {
  const { manifest } = bundle.model;
  const cases = golden.filter(({ graph }) => graphs.includes(graph));
  const covered = new Set(cases.map(({ graph }) => graph));
  const problems = graphs.filter((graph) => !covered.has(graph)).map((graph) => `${graph} has no golden vector`);
  const splitting: (boolean | undefined)[] = [];
  for (const one of cases) {
    splitting.push(await splitsCandidates(one, set, manifest));
    const outputs = await set.run(one.graph, one.inputs, BACKGROUND);
    const difference = goldenDifference(one, outputs, manifest.golden.tolerance);
    if (difference !== '') problems.push(`${one.graph} "${one.name}": ${difference}`);
  }
  refuse(bundle, problems);
  return splitting.includes(true) && !splitting.includes(false);
}

/** True if a golden vector gives the same scores in two parts. Undefined if it has no candidates to divide. */
async function splitsCandidates(golden: GoldenCase, set: GraphSet, manifest: Manifest) {
  if (golden.graph === 'explain' || golden.graph === 'rankBatch') return undefined; // their runs are never split
  const { tolerance } = manifest.golden;
  const { inputs } = graphOf(manifest, golden.graph);
  const parts = splitCandidates(inputs, structuredClone(golden.inputs), 2);
  const [output] = Object.keys(golden.outputs);
  if (parts.length < 2 || output === undefined) return undefined;
  const scores = joinScores(await set.runEach(golden.graph, parts, BACKGROUND), output);
  return goldenDifference(golden, { [output]: float32(scores, [scores.length]) }, tolerance) === '';
}
