import { join } from 'node:path';
import { type BundleModel, CkvError, type GraphName } from '@collectivekv/domain';
import type { Engine, GraphSet } from '@collectivekv/engine';
import { goldenDifference, readGolden } from './golden.js';
import { type OpenBundle, openBundle } from './open-bundle.js';

/** A bundle whose graphs can run. */
export interface LoadedBundle {
  readonly dir: string;
  readonly model: BundleModel;
  readonly graphs: GraphSet;
  /** Waits for runs in flight, then frees the sessions. */
  close(): Promise<void>;
}

/** Options of {@link loadBundle}. */
export interface LoadOptions {
  /** The graphs to load. */
  readonly graphs: readonly GraphName[];
  /** Run the golden vectors of these graphs before the bundle counts as loaded. */
  readonly verifyGolden: boolean;
}

/**
 * Opens a bundle and loads its graphs.
 * @throws bundle_invalid, also where this machine's runtime does not reproduce the golden vectors; provider_missing
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
    if (verifyGolden) await verify(bundle, set, graphs);
  } catch (error) {
    await set.close();
    throw error;
  }
  return { dir, model: bundle.model, graphs: set, close: () => set.close() };
}

async function verify(bundle: OpenBundle, set: GraphSet, graphs: readonly GraphName[]): Promise<void> {
  const { manifest, id } = bundle.model;
  const cases = (await readGolden(bundle)).filter(({ graph }) => graphs.includes(graph));
  const covered = new Set(cases.map(({ graph }) => graph));
  const problems = graphs.filter((graph) => !covered.has(graph)).map((graph) => `${graph} has no golden vector`);
  for (const golden of cases) {
    const outputs = await set.run(golden.graph, golden.inputs);
    const difference = goldenDifference(golden, outputs, manifest.golden.tolerance);
    if (difference !== '') problems.push(`${golden.graph} "${golden.name}": ${difference}`);
  }
  if (problems.length > 0) {
    throw new CkvError('bundle_invalid', `bundle ${id} is not reproduced on this machine: ${problems.join('; ')}`);
  }
}
