import { Gauge } from 'prom-client';
import type { Metrics } from './metrics.js';

interface BundleIdentity {
  readonly id: string;
  readonly encodingId: string;
  readonly manifest: { readonly name: string };
}

/** The part of a bundle follower that its metrics read. */
export interface FollowedBundles {
  /** The bundles that the pool announces. */
  announced(): readonly { readonly bundleId: string; readonly state: string }[];
  /** The announced bundles that are loaded. */
  all(): readonly { readonly model: BundleIdentity }[];
}

/** Registers gauges that say which of the announced bundles this replica has loaded, and what they are. */
export function watchFollowedBundles({ registry }: Metrics, bundles: FollowedBundles): void {
  new Gauge({
    name: 'ckv_bundle_info',
    help: '1 for each loaded bundle, with its name and its encoding',
    labelNames: ['bundle', 'name', 'encoding'] as const,
    registers: [registry],
    collect() {
      this.reset();
      for (const { model } of bundles.all()) {
        this.set({ bundle: model.id, name: model.manifest.name, encoding: model.encodingId }, 1);
      }
    },
  });
  new Gauge({
    name: 'ckv_bundle_loaded',
    help: '1 for an announced bundle that this replica has loaded, 0 for one that it is still to load',
    labelNames: ['bundle', 'state'] as const,
    registers: [registry],
    collect() {
      this.reset();
      const loaded = new Set(bundles.all().map(({ model }) => model.id));
      for (const { bundleId: bundle, state } of bundles.announced()) {
        this.set({ bundle, state }, loaded.has(bundle) ? 1 : 0);
      }
    },
  });
}
