import type { Metrics } from '@collectivekv/service-kit';
import type { AppendOutcome } from '@collectivekv/user-store';
import { Counter } from 'prom-client';

/** The user-cache's metrics beside those of its rpcs. */
export interface UserCacheMetrics {
  observeReads(found: number, missing: number): void;
  observeAppends(outcomes: readonly AppendOutcome[]): void;
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
  const quarantined = new Counter({
    name: 'ckv_records_quarantined_total',
    help: 'Unreadable records that were moved to another key',
    registers: [registry],
  });
  return {
    observeReads(found, missing) {
      reads.inc({ found: 'true' }, found);
      reads.inc({ found: 'false' }, missing);
    },
    observeAppends(outcomes) {
      for (const outcome of outcomes) {
        positions.inc({ outcome: 'appended' }, outcome.appliedCount);
        positions.inc({ outcome: 'duplicate' }, outcome.duplicateCount);
        if (outcome.quarantined) quarantined.inc();
      }
    },
  };
}
