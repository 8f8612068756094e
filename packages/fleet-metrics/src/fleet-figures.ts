import type { Sample } from './metrics-text.js';
import type { Scrape } from './scrape.js';

/** Quantiles of a time, s. NaN if nothing was observed. */
export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

/** Figures of one process. */
export interface ProcessFigures {
  readonly target: string;
  /** `ranking`, `updater`, …; empty if it does not answer. */
  readonly service: string;
  /** Why it does not answer; empty if it does. */
  readonly problem: string;
  readonly callsPerS: number;
  /** Share of the calls that failed by no fault of their callers. */
  readonly failedShare: number;
  readonly callSeconds: Quantiles;
  /** Cores in use. */
  readonly cores: number;
  readonly memoryBytes: number;
  /** Time since its start, s; NaN if it does not tell. */
  readonly upSeconds: number;
  /** Delay of its event loop, 99th percentile, s; NaN if it does not tell. */
  readonly loopP99Seconds: number;
  /** Partitions that an updater consumes; NaN for other services. */
  readonly heldPartitions: number;
  /** Bundles that it has loaded, or keeps, by id; with their state where it says so. */
  readonly bundles: readonly { readonly bundleId: string; readonly state: string }[];
  /** Ids of the announced bundles that it is still to load. */
  readonly loadingIds: readonly string[];
}

/** A bundle, as processes tell of it. */
export interface LoadedBundleFigures {
  readonly bundleId: string;
  readonly name: string;
  readonly encodingId: string;
  /** Processes that have it loaded. */
  readonly loadedCount: number;
}

/** Figures of a fleet between two looks. */
export interface FleetFigures {
  readonly processes: readonly ProcessFigures[];
  readonly rank: {
    readonly perS: number;
    readonly failedShare: number;
    readonly seconds: Quantiles;
    /** Answers by rung, a second. */
    readonly rungs: Readonly<Record<string, number>>;
    /** Time of each stage, p99, s. */
    readonly stages: Readonly<Record<string, number>>;
    readonly candidatesPerS: number;
    readonly recordBytes: number;
    readonly positions: number;
  };
  readonly interactions: {
    /** Interactions applied, a second. */
    readonly perS: number;
    /** From the queue to the records, s. */
    readonly servableSeconds: Quantiles;
    readonly waitingJobs: number;
    /** Age of the oldest waiting job, s; NaN if no updater tells. */
    readonly oldestS: number;
    readonly setAsidePerS: number;
    readonly heldPartitions: number;
  };
  /** Time of a step in Redis, s. */
  readonly redisSeconds: Quantiles;
  readonly bundles: readonly LoadedBundleFigures[];
}

/** Codes that are no failure of the fleet: success, and what is the caller's own doing. */
const NOT_FAILED = new Set([
  ...[
    'OK',
    'CANCELLED',
    'INVALID_ARGUMENT',
    'FAILED_PRECONDITION',
    'NOT_FOUND',
    'UNAUTHENTICATED',
    'PERMISSION_DENIED',
  ],
]);
const CALLS = 'ckv_rpc_duration_seconds';
/** Streams that stay open: their times say nothing about calls. */
const STREAMS = /\/(WatchBundles|FetchBundle)$/;

/** Every metric that figures are made of. Other samples of a scrape may be dropped. */
export const FIGURED_METRICS: RegExp =
  /^(ckv_(rpc_duration|rank_stage|queued_to_servable|redis)_seconds|ckv_rank_(answers|candidates)_total|ckv_rank_(record_bytes|positions)|ckv_(interactions|jobs)_total|ckv_(oldest_waiting_job_seconds|waiting_jobs|held_partitions)|ckv_bundle_(info|loaded|active)|process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds)|nodejs_eventloop_lag_p99_seconds)(_bucket|_sum|_count)?$/;

/**
 * Returns the figures of a fleet between two looks at the same processes. A process that was restarted in between counts
 * from its start.
 */
export function fleetFigures(before: readonly Scrape[], now: readonly Scrape[]): FleetFigures {
  const changes = now.map((scrape) =>
    changeOf(
      before.find(({ target }) => target === scrape.target),
      scrape,
    ),
  );
  const all = joined(changes);
  const isRank = ({ rpc = '' }: Labels) => rpc.startsWith('RankingService/');
  const ages = valuesOf(now, 'ckv_oldest_waiting_job_seconds').filter((age) => !Number.isNaN(age));
  return {
    processes: changes.map(processFigures),
    rank: {
      perS: all.rate(`${CALLS}_count`, isRank),
      failedShare: all.failedShare(isRank),
      seconds: all.quantiles(CALLS, isRank),
      rungs: all.ratesBy('ckv_rank_answers_total', 'rung'),
      stages: Object.fromEntries(
        all
          .valuesOf('ckv_rank_stage_seconds_count', 'stage')
          .map((stage) => [stage, all.quantiles('ckv_rank_stage_seconds', (labels) => labels.stage === stage).p99]),
      ),
      candidatesPerS: all.rate('ckv_rank_candidates_total'),
      recordBytes: all.mean('ckv_rank_record_bytes'),
      positions: all.mean('ckv_rank_positions'),
    },
    interactions: {
      perS: all.rate('ckv_interactions_total', ({ outcome }) => outcome === 'appended'),
      servableSeconds: all.quantiles('ckv_queued_to_servable_seconds'),
      waitingJobs: sumOf(now, 'ckv_waiting_jobs'),
      oldestS: ages.length > 0 ? Math.max(...ages) : Number.NaN,
      setAsidePerS: all.rate('ckv_jobs_total', ({ outcome }) => outcome === 'failed'),
      heldPartitions: sumOf(now, 'ckv_held_partitions'),
    },
    redisSeconds: all.quantiles('ckv_redis_seconds'),
    bundles: bundlesOf(now),
  };
}

type Labels = Readonly<Record<string, string>>;
type Choice = (labels: Labels) => boolean;
const ANY: Choice = () => true;

/** A sample and how much it grew. */
interface Growth extends Sample {
  readonly grewBy: number;
}

/** How the metrics of one process, or several, changed. */
interface Change {
  readonly scrape: Scrape | undefined;
  readonly growths: readonly Growth[];
  readonly seconds: number;
}

function changeOf(before: Scrape | undefined, now: Scrape): Change {
  const known = new Map((before?.samples ?? []).map((sample) => [keyOf(sample), sample.value]));
  const growths = now.samples.map((sample) => {
    const earlier = known.get(keyOf(sample)) ?? 0;
    return { ...sample, grewBy: sample.value < earlier ? sample.value : sample.value - earlier };
  });
  return { scrape: now, growths, seconds: before ? (now.atMs - before.atMs) / 1_000 : Number.NaN };
}

function keyOf({ name, labels }: Sample): string {
  return `${name}${JSON.stringify(labels)}`;
}

/** Reads the changes of several processes together. */
function joined(changes: readonly Change[]) {
  const growthsOf = (name: string, choice: Choice) =>
    changes.flatMap(({ growths, seconds }) =>
      growths.filter((one) => one.name === name && choice(one.labels)).map((one) => ({ ...one, seconds })),
    );
  const rate = (name: string, choice: Choice = ANY) =>
    growthsOf(name, choice).reduce((sum, { grewBy, seconds }) => sum + (seconds > 0 ? grewBy / seconds : 0), 0);
  const grown = (name: string, choice: Choice = ANY) =>
    growthsOf(name, choice).reduce((sum, { grewBy }) => sum + grewBy, 0);
  const valuesOfLabel = (name: string, label: string) => [
    ...new Set(growthsOf(name, ANY).map(({ labels }) => labels[label] ?? '')),
  ];
  return {
    rate,
    valuesOf: valuesOfLabel,
    failedShare(choice: Choice = ANY) {
      const failed = grown(`${CALLS}_count`, (labels) => choice(labels) && !NOT_FAILED.has(labels.code ?? ''));
      return failed === 0 ? 0 : failed / grown(`${CALLS}_count`, choice);
    },
    ratesBy: (name: string, label: string) =>
      Object.fromEntries(
        valuesOfLabel(name, label).map((value) => [value, rate(name, (labels) => labels[label] === value)]),
      ),
    mean: (name: string) => grown(`${name}_sum`) / grown(`${name}_count`),
    quantiles(name: string, choice: Choice = ANY): Quantiles {
      const counts = new Map<number, number>();
      for (const { labels, grewBy } of growthsOf(`${name}_bucket`, choice)) {
        const bound = labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le);
        counts.set(bound, (counts.get(bound) ?? 0) + grewBy);
      }
      const buckets = [...counts].sort(([a], [b]) => a - b);
      return { p50: quantile(0.5, buckets), p99: quantile(0.99, buckets) };
    },
  };
}

/**
 * Returns a quantile as Prometheus's histogram_quantile does: evenly spread within a bucket, and the last bound beyond
 * it.
 * @param buckets upper bounds and cumulative counts, in order
 */
function quantile(q: number, buckets: readonly (readonly [bound: number, count: number])[]): number {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total === 0) return Number.NaN;
  const rank = q * total;
  let [lower, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank)
      return bound === Number.POSITIVE_INFINITY ? lower : lower + ((bound - lower) * (rank - below)) / (count - below);
    [lower, below] = [bound, count];
  }
  return lower;
}

function processFigures(change: Change): ProcessFigures {
  const scrape = change.scrape as Scrape;
  const own = joined([change]);
  const isCall = ({ rpc = '' }: Labels) => !STREAMS.test(rpc);
  const only = (metric: string) => valuesOf([scrape], metric)[0] ?? Number.NaN;
  const service = scrape.samples.find(({ labels }) => labels.service)?.labels.service ?? '';
  return {
    target: scrape.target,
    service,
    problem: scrape.problem,
    callsPerS: own.rate(`${CALLS}_count`, isCall),
    failedShare: own.failedShare(isCall),
    callSeconds: own.quantiles(CALLS, isCall),
    cores: own.rate('process_cpu_seconds_total'),
    memoryBytes: sumOf([scrape], 'process_resident_memory_bytes'),
    upSeconds: Date.now() / 1_000 - only('process_start_time_seconds'),
    loopP99Seconds: only('nodejs_eventloop_lag_p99_seconds'),
    heldPartitions: only('ckv_held_partitions'),
    bundles: scrape.samples.flatMap(({ name, labels, value }) => {
      if (name === 'ckv_bundle_active')
        return [{ bundleId: labels.bundle ?? '', state: value === 1 ? 'active' : 'kept' }];
      if (name === 'ckv_bundle_loaded' && value === 1)
        return [{ bundleId: labels.bundle ?? '', state: labels.state ?? '' }];
      return [];
    }),
    loadingIds: scrape.samples.flatMap(({ name, labels, value }) =>
      name === 'ckv_bundle_loaded' && value === 0 ? [labels.bundle ?? ''] : [],
    ),
  };
}

function bundlesOf(scrapes: readonly Scrape[]): LoadedBundleFigures[] {
  const found = new Map<string, LoadedBundleFigures>();
  for (const { name, labels } of scrapes.flatMap(({ samples }) => samples)) {
    if (name !== 'ckv_bundle_info') continue;
    const { bundle = '', name: bundleName = '', encoding = '' } = labels;
    const loadedCount = (found.get(bundle)?.loadedCount ?? 0) + 1;
    found.set(bundle, { bundleId: bundle, name: bundleName, encodingId: encoding, loadedCount });
  }
  return [...found.values()];
}

function valuesOf(scrapes: readonly Scrape[], metric: string): number[] {
  return scrapes.flatMap(({ samples }) => samples.filter(({ name }) => name === metric).map(({ value }) => value));
}

function sumOf(scrapes: readonly Scrape[], metric: string): number {
  return valuesOf(scrapes, metric).reduce((sum, value) => sum + value, 0);
}
