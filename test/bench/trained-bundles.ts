import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { makeOnce } from './bench-bundles.js';
import type { Baseline } from './options.js';

/** The bundle that is recommended, and that every comparison is about. */
export const RECOMMENDED = 'factored';

/** Names of the bundles that training/bench_trained.py makes of one trained model. */
export type TrainedBundleName = typeof RECOMMENDED | Baseline;

/** Bundles of one trained model, and real histories for them. */
export interface TrainedBundles {
  /** Returns the folder of a bundle. */
  dir(name: TrainedBundleName): string;
  /** A log with the interactions of the users with the longest histories, in the order of time. */
  readonly log: string;
  /** What the model was trained on, in words. */
  readonly trainedOn: string;
}

/** Options of {@link trainedBundles}. */
export interface TrainedBundleOptions {
  /** Folder of public data sets, as for training/quality.py; undefined: a log of the feed simulator. */
  readonly data?: string | undefined;
  /** Path of Python; see {@link makeOnce}. */
  readonly python?: string | undefined;
}

/**
 * Returns the bundles of a trained model. If the training code is new, makes them first. The trained weights stay in
 * .ckv/training: only a change of the settings trains again, in some minutes.
 * @throws Error with Python's error text, or with the package to install
 */
export function trainedBundles({ data, python }: TrainedBundleOptions): TrainedBundles {
  const args = data === undefined ? [] : ['--data', resolve(data)];
  const folder = makeOnce('training/bench_trained.py', args, python);
  const about: { trainedOn: string } = JSON.parse(readFileSync(join(folder, 'about.json'), 'utf8'));
  return {
    dir: (name) => join(folder, name),
    log: join(folder, 'histories.parquet'),
    trainedOn: about.trainedOn,
  };
}
