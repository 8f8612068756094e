/** Processor time of a process for one piece of work. */
export interface ProcessCost {
  /** Of all threads, ms. */
  readonly cpuMs: number;
  /** Of the main thread alone, ms; undefined where it could not be measured. */
  readonly mainThreadMs?: number | undefined;
}

/** Names of the measured services. */
export type CostedService = 'ranking' | 'updater' | 'user-cache';

/** What a calibration measured. */
export interface ServiceCosts {
  /** The machine and the time. */
  readonly machine: string;
  /** What was measured: the length of the records, candidates of a request, interactions of a call. */
  readonly workload: string;
  /** Of one rank request. */
  readonly rank: { readonly ranking: ProcessCost; readonly recordsRedisMs: number };
  /** Of one interaction. */
  readonly interaction: {
    readonly updater: ProcessCost;
    readonly 'user-cache': ProcessCost;
    readonly recordsRedisMs: number;
    readonly queueRedisMs: number;
  };
  /** Resident memory after the work, bytes. */
  readonly residentBytes: Readonly<Record<CostedService | 'pool', number>>;
  /** A record as Redis allocated it, with its key, bytes. */
  readonly recordUsedBytes: number;
}
