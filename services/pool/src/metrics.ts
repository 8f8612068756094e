import { WHOLE_SHARE_BP } from '@collectivekv/domain';
import type { Engine } from '@collectivekv/engine';
import { type Metrics, watchGauge } from '@collectivekv/service-kit';
import { Counter, Gauge } from 'prom-client';
import type { BundleShelf } from './bundle-shelf.js';

/** Metrics of the pool besides those of its rpcs. */
export interface PoolMetrics {
  readonly gatheredRows: Counter<'part'>;
}

/** Registers the pool's metrics. */
export function createPoolMetrics(metrics: Metrics, engine: Engine, shelf: BundleShelf): PoolMetrics {
  const { registry } = metrics;
  const queued = { name: 'ckv_engine_queued_runs', help: 'Graph runs that wait for a worker' };
  watchGauge(metrics, queued, () => engine.queuedCount);
  new Gauge({
    name: 'ckv_bundle_active',
    help: '1 for the active bundle, 0 for the other bundles that followers keep loaded',
    labelNames: ['bundle'] as const,
    registers: [registry],
    collect() {
      this.reset();
      const { activeBundleId, bundles } = shelf.announcement();
      for (const { bundleId: bundle } of bundles) this.set({ bundle }, bundle === activeBundleId ? 1 : 0);
    },
  });
  new Gauge({
    name: 'ckv_bundle_canary_share',
    help: 'Share of the users that each candidate serves, 0 to 1; 0 while it only becomes warm',
    labelNames: ['bundle'] as const,
    registers: [registry],
    collect() {
      this.reset();
      for (const { bundleId: bundle, state, shareBp } of shelf.announcement().bundles) {
        if (state === 'canary' || state === 'warming') this.set({ bundle }, shareBp / WHOLE_SHARE_BP);
      }
    },
  });
  const gatheredRows = new Counter({
    name: 'ckv_pool_gathered_rows_total',
    help: 'Pool rows gathered for callers',
    labelNames: ['part'] as const,
    registers: [registry],
  });
  return { gatheredRows };
}
