import type { LoadedBundle } from '@collectivekv/bundles';
import type { Metrics } from '@collectivekv/service-kit';
import { Counter, Gauge, Histogram } from 'prom-client';

/**
 * Registers the metrics of graph runs that several users share.
 * @returns the function to call after each of them, with its users, and whether it failed
 */
export function watchBatches({ registry }: Metrics): (userCount: number, failed: boolean) => void {
  const users = new Histogram({
    name: 'ckv_rank_batch_users',
    help: 'Users of each rank graph run that several shared',
    buckets: [2, 4, 8, 16, 32, 64],
    registers: [registry],
  });
  const repeated = new Counter({
    name: 'ckv_rank_repeated_runs_total',
    help: 'Rank graph runs of one user that repeat a part of a shared run, because the shared run failed',
    registers: [registry],
  });
  return (userCount, failed) => {
    users.observe(userCount);
    if (failed) repeated.inc(userCount);
  };
}

/** The part of a loaded bundle that its metric reads. */
interface JoinedBundle extends Pick<LoadedBundle, 'joinedUsers'> {
  readonly model: Pick<LoadedBundle['model'], 'id'>;
}

/** Registers a gauge of the most users that share a run, by bundle. */
export function watchJoinedUsers({ registry }: Metrics, bundles: { all(): readonly JoinedBundle[] }): void {
  new Gauge({
    name: 'ckv_rank_most_batch_users',
    help: 'Most users that may share a rank graph run, for each loaded bundle; 1 if each has a run of its own',
    labelNames: ['bundle'] as const,
    registers: [registry],
    collect() {
      this.reset();
      for (const { model, joinedUsers } of bundles.all()) this.set({ bundle: model.id }, joinedUsers?.mostUsers ?? 1);
    },
  });
}
