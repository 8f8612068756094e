import type { Engine } from '@collectivekv/engine';
import { LATENCY_BUCKETS, type Metrics, watchGauge } from '@collectivekv/service-kit';
import { Counter, Histogram } from 'prom-client';
import type { RankAnswer } from './ranker.js';

/** Counts answers. */
export interface RankingMetrics {
  /** Counts one answer: its stages, its rung, its sizes. */
  observe(answer: RankAnswer, candidateCount: number): void;
}

/** Registers the ranking service's metrics. */
export function createRankingMetrics(metrics: Metrics, engine: Engine): RankingMetrics {
  const { registry } = metrics;
  const queued = { name: 'ckv_engine_queued_runs', help: 'Graph runs that wait for a worker' };
  watchGauge(metrics, queued, () => engine.queuedCount);
  const stageSeconds = new Histogram({
    name: 'ckv_rank_stage_seconds',
    help: 'Time of a rank request by the stages that it went through; total is the whole',
    labelNames: ['stage'] as const,
    buckets: LATENCY_BUCKETS,
    registers: [registry],
  });
  const answers = new Counter({
    name: 'ckv_rank_answers_total',
    help: 'Answers by degradation rung and its reason',
    labelNames: ['rung', 'reason'] as const,
    registers: [registry],
  });
  const runs = new Counter({
    name: 'ckv_rank_graph_runs_total',
    help: 'Runs of the rank graph: more than answers where idle workers shared candidates',
    registers: [registry],
  });
  const candidates = new Counter({
    name: 'ckv_rank_candidates_total',
    help: 'Candidates scored, by whether the bundle knows them',
    labelNames: ['known'] as const,
    registers: [registry],
  });
  return {
    observe({ timings, rung, rungReason, partCount, unknownCandidateCount }, candidateCount) {
      for (const [stage, us] of Object.entries(timings)) if (us > 0) stageSeconds.observe({ stage }, us / 1e6);
      answers.inc({ rung, reason: rungReason });
      runs.inc(partCount);
      candidates.inc({ known: 'true' }, candidateCount - unknownCandidateCount);
      if (unknownCandidateCount > 0) candidates.inc({ known: 'false' }, unknownCandidateCount);
    },
  };
}
