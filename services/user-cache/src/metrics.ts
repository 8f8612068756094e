import type { Metrics } from '@collectivekv/service-kit';
import type { AppendOutcome } from '@collectivekv/user-store';
import { Counter } from 'prom-client';

/** The user-cache's metrics beside those of its rpcs. */
export interface UserCacheMetrics {
  observeReads(found: number, missing: number): void;
  observeAppends(outcomes: readonly AppendOutcome[]): void;
  /** Takes over Redis's own count of evicted keys. */
  observeEvictions(evictedKeyCount: number): void;
}

/** Registers user-cache's metrics. */
export function createUserCacheMetrics({ registry }: Metrics): UserCacheMetrics {
  const reads = new Counter({
    name: 'ckv_record_reads_total',
    help: 'Records read, by whether the user has one',
    labelNames: ['found'] as const,
    registers: [registry],
  });
  const positions = new Counter({
    name: 'ckv_positions_total',
    help: 'Positions received: appended, or skipped as duplicates',
    labelNames: ['outcome'] as const,
    registers: [registry],
  });
  const unreadable = new Counter({
    name: 'ckv_records_unreadable_total',
    help: 'Unreadable records that were moved to another key',
    registers: [registry],
  });
  const evictions = new Counter({
    name: 'ckv_redis_evicted_keys_total',
    help: "Keys that the records' Redis has evicted since it started, all primaries together, as each replica of the user-cache sees it",
    registers: [registry],
  });
  return {
    observeEvictions(evictedKeyCount) {
      evictions.reset();
      evictions.inc(evictedKeyCount);
    },
    observeReads(found, missing) {
      reads.inc({ found: 'true' }, found);
      reads.inc({ found: 'false' }, missing);
    },
    observeAppends(outcomes) {
      for (const outcome of outcomes) {
        positions.inc({ outcome: 'appended' }, outcome.appliedCount);
        positions.inc({ outcome: 'duplicate' }, outcome.duplicateCount);
        if (outcome.unreadable) unreadable.inc();
      }
    },
  };
}
