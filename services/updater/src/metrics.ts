import { LATENCY_BUCKETS, type Metrics } from '@collectivekv/service-kit';
import { Counter, Gauge, Histogram } from 'prom-client';

/** The updater's metrics beside those of its rpcs. */
export interface UpdaterMetrics {
  readonly interactions: Counter<'outcome'>;
  readonly unknown: Counter<'kind'>;
  readonly jobs: Counter<'outcome'>;
  readonly retries: Counter<'reason'>;
  readonly servableSeconds: Histogram;
  readonly batchInteractions: Histogram;
  readonly heldPartitions: Gauge;
  readonly waitingJobs: Gauge;
  readonly loggedEvents: Gauge;
  readonly warmingPartitions: Gauge;
  readonly warmingLagSeconds: Gauge;
  readonly warmedInteractions: Counter<'outcome'>;
  readonly warmingBatches: Counter<'outcome'>;
  readonly warmedSeconds: Histogram;
}

/** Registers the updater's metrics. */
export function createUpdaterMetrics({ registry }: Metrics): UpdaterMetrics {
  const registers = [registry];
  const jobs = new Counter({
    name: 'ckv_jobs_total',
    help: 'Jobs settled: done, failed (set aside), or forwarded to their own partition',
    labelNames: ['outcome'] as const,
    registers,
  });
  jobs.inc({ outcome: 'failed' }, 0); // or the alert would not see the first one: a rate needs a first value
  return {
    interactions: new Counter({
      name: 'ckv_interactions_total',
      help: 'Interactions settled: appended, duplicate, or forgotten',
      labelNames: ['outcome'] as const,
      registers,
    }),
    unknown: new Counter({
      name: 'ckv_unknown_total',
      help: 'Interactions whose item or action the bundle does not know',
      labelNames: ['kind'] as const,
      registers,
    }),
    jobs,
    retries: new Counter({
      name: 'ckv_batch_retries_total',
      help: 'Retries of a batch in place, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    servableSeconds: new Histogram({
      name: 'ckv_queued_to_servable_seconds',
      help: 'Time from a queued job to its interactions in their records',
      buckets: LATENCY_BUCKETS,
      registers,
    }),
    batchInteractions: new Histogram({
      name: 'ckv_batch_interactions',
      help: 'Interactions of a batch, encoded together',
      buckets: [1, 4, 16, 64, 256, 1_024, 4_096, 16_384],
      registers,
    }),
    heldPartitions: new Gauge({
      name: 'ckv_held_partitions',
      help: 'Partitions that this updater consumes',
      registers,
    }),
    waitingJobs: new Gauge({ name: 'ckv_waiting_jobs', help: 'Jobs that wait in the held partitions', registers }),
    warmingPartitions: new Gauge({
      name: 'ckv_warming_partitions',
      help: 'Held partitions in which records of an encoding are being built',
      registers,
    }),
    warmingLagSeconds: new Gauge({
      name: 'ckv_warming_lag_seconds',
      help: 'Time between the next interaction of the encoding that is being warmed and the newest one that waits',
      registers,
    }),
    warmedInteractions: new Counter({
      name: 'ckv_warmed_interactions_total',
      help: 'Interactions for records that are being built: appended, or duplicate',
      labelNames: ['outcome'] as const,
      registers,
    }),
    warmingBatches: new Counter({
      name: 'ckv_warming_batches_total',
      help: "Waves of a partition for records that are being built: done, or failed (without a refused user's part)",
      labelNames: ['outcome'] as const,
      registers,
    }),
    warmedSeconds: new Histogram({
      name: 'ckv_warmed_after_seconds',
      help: 'Time from the entry of an interaction in a stream to its records that are being built',
      buckets: [0.1, 1, 10, 60, 600, 3_600, 36_000, 360_000],
      registers,
    }),
    loggedEvents: new Gauge({
      name: 'ckv_event_log_interactions',
      help: 'Interactions in the event logs of the held partitions, counted once a minute',
      registers,
    }),
  };
}
