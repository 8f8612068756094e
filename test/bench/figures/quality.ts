import { openBundle } from '@collectivekv/bundles';
import type { Bench } from '../bench-context.js';
import { RECOMMENDED } from '../trained-bundles.js';

/** Names of the figures, and of the manifest's metrics. */
const MEASURES = [
  ['auc', 'auc', 'fullAuc'],
  ['gauc', 'gauc', 'fullGauc'],
] as const;
const TARGET = '>= -0.001';

/** Copies AUC and GAUC of the trained bundles, and their difference from the full model, from the manifests. */
export async function quality(bench: Bench): Promise<void> {
  for (const arm of [RECOMMENDED, ...bench.options.baselines] as const) {
    const { model } = await openBundle(bench.trained(arm).dir);
    const metrics = model.manifest.training?.metrics ?? {};
    for (const [name, own, full] of MEASURES) {
      const [value = Number.NaN, whole = Number.NaN] = [metrics[own], metrics[full]];
      bench.add(name, { arm }, value);
      bench.add(`${name}_minus_full`, { arm }, value - whole, '', arm === RECOMMENDED ? TARGET : '');
    }
  }
}
