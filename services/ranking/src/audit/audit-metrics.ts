import { type Metrics, watchGauge } from '@collectivekv/service-kit';
import { Counter, Histogram } from 'prom-client';
import type { AuditCheck } from './audit-check.js';
import type { ScoreComparison } from './score-comparison.js';

/**
 * What became of a sampled answer in a check: compared, or why not. `dropped`: too many waited. `busy`: the service had
 * no idle time for it.
 */
export type AuditOutcome = 'compared' | 'cold' | 'unsupported' | 'skipped' | 'dropped' | 'busy' | 'failed';

/** Metrics of audits. */
export interface AuditMetrics {
  count(check: AuditCheck['name'], outcome: AuditOutcome): void;
  /** Counts a comparison. `breach`: the scores differ by more than they may. */
  compare(check: AuditCheck['name'], comparison: ScoreComparison, breach: boolean): void;
}

/** Bounds of differences: rounding of float32 is near the first, the tolerance in the middle. */
const DIFFERENCES = [0, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 1e-2, 0.1, 1];

/** Registers the metrics of audits. */
export function createAuditMetrics(metrics: Metrics, waitingCount: () => number): AuditMetrics {
  watchGauge(metrics, { name: 'ckv_audit_waiting_answers', help: 'Answers that wait for their audit' }, waitingCount);
  const common = { labelNames: ['check'] as const, registers: [metrics.registry] };
  const answers = new Counter({
    name: 'ckv_audit_answers_total',
    help: 'Answers sampled for an audit, by check and outcome',
    labelNames: ['check', 'outcome'] as const,
    registers: [metrics.registry],
  });
  const breaches = new Counter({
    name: 'ckv_audit_breaches_total',
    help: 'Answers whose scores another path did not confirm within CKV_AUDIT_TOLERANCE',
    ...common,
  });
  const difference = new Histogram({
    name: 'ckv_audit_score_difference',
    help: 'Largest difference between a served score and the other one, per answer',
    buckets: DIFFERENCES,
    ...common,
  });
  const tau = new Histogram({
    name: 'ckv_audit_kendall_tau',
    help: "Kendall's rank correlation of the served order and the other one, per answer; 1 is the same order",
    buckets: [-0.5, 0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1],
    ...common,
  });
  const overlap = new Histogram({
    name: 'ckv_audit_top10_overlap',
    help: 'Share of the ten best candidates that both orders have among their ten best, per answer',
    buckets: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
    ...common,
  });
  breaches.inc({ check: 'path' }, 0); // a rate needs a first value
  return {
    count: (check, outcome) => answers.inc({ check, outcome }),
    compare(check, { largestDifference, kendallTau, topOverlap }, breach) {
      answers.inc({ check, outcome: 'compared' });
      difference.observe({ check }, largestDifference);
      tau.observe({ check }, kendallTau);
      overlap.observe({ check }, topOverlap);
      if (breach) breaches.inc({ check });
    },
  };
}
