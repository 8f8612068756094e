import type { Metrics } from '@collectivekv/service-kit';
import { Gauge } from 'prom-client';
import type { BundleShelf } from './bundle-shelf.js';
import type { FieldHealth, PoolHealth } from './pool-health.js';

/** The gauges: name, help, and the figure; undefined if it is not known. */
const GAUGES: readonly (readonly [string, string, (health: FieldHealth) => number | undefined])[] = [
  ['ckv_pool_positions', 'Recent positions whose slots are counted', ({ recent }) => recent.positionCount],
  ['ckv_pool_slots_used', 'Slots that a recent position uses', ({ recent }) => recent.usedCount],
  ['ckv_pool_slots_unused', 'Slots without a recent position', ({ recent }) => recent.slotCount - recent.usedCount],
  [
    'ckv_pool_slots_unused_expected',
    'Slots that would be unused if recent positions were those of training',
    ({ drift }) => drift?.expectedUnusedCount,
  ],
  ['ckv_pool_entropy', "Entropy of a recent position's slot, bits", ({ recent }) => recent.entropyBits],
  ['ckv_pool_perplexity', 'Number of evenly used slots with the same entropy', ({ recent }) => recent.perplexity],
  [
    'ckv_pool_usage_drift',
    'Total variation between the slots of recent positions and of training, 0 to 1',
    ({ drift }) => drift?.distance,
  ],
  ['ckv_pool_usage_drift_noise', 'Mean drift that chance alone explains', ({ drift }) => drift?.noise],
  ['ckv_pool_usage_drift_bound', 'Drift that chance exceeds once in a thousand times', ({ drift }) => drift?.bound],
];

/** Registers the metrics of the pools' health: for each announced bundle and counted route field. */
export function createHealthMetrics(
  { registry }: Metrics,
  shelf: Pick<BundleShelf, 'announcement' | 'get'>,
  health: PoolHealth,
): void {
  for (const [name, help, figureOf] of GAUGES) {
    new Gauge({
      name,
      help,
      labelNames: ['bundle', 'field'] as const,
      registers: [registry],
      collect() {
        this.reset();
        for (const { bundleId: bundle } of shelf.announcement().bundles) {
          for (const one of health.of(shelf.get(bundle))) {
            const figure = figureOf(one);
            if (figure !== undefined) this.set({ bundle, field: one.field }, figure);
          }
        }
      },
    });
  }
}
