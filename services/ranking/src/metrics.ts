import type { Engine } from '@collectivekv/engine';
import type { Admission } from '@collectivekv/rpc/server';
import { LATENCY_BUCKETS, type Metrics, watchGauge } from '@collectivekv/service-kit';
import { Counter, Histogram } from 'prom-client';
import { createHistorySlots } from './history-slots.js';
import type { RankAnswer } from './ranker.js';

/** Metrics of answers. */
export interface RankingMetrics {
  /** Counts an answer: its stage timings, rung, graph runs and candidates. */
  observe(answer: RankAnswer, candidateCount: number): void;
}

/** Registers the ranking service's metrics. */
export function createRankingMetrics(
  metrics: Metrics,
  engine: Pick<Engine, 'queuedCount'>,
  admission: Pick<Admission, 'startedCount' | 'waitingCount'>,
): RankingMetrics {
  const { registry } = metrics;
  const queued = { name: 'ckv_engine_queued_runs', help: 'Graph runs that wait for a worker' };
  watchGauge(metrics, queued, () => engine.queuedCount);
  const started = { name: 'ckv_rank_started_requests', help: 'Requests that are worked on' };
  watchGauge(metrics, started, () => admission.startedCount);
  const waiting = { name: 'ckv_rank_waiting_requests', help: 'Requests that wait to be begun' };
  watchGauge(metrics, waiting, () => admission.waitingCount);
  const stageSeconds = new Histogram({
    name: 'ckv_rank_stage_seconds',
    help: 'Time of a rank request by stage; total is the whole request',
    labelNames: ['stage'] as const,
    buckets: LATENCY_BUCKETS,
    registers: [registry],
  });
  const answers = new Counter({
    name: 'ckv_rank_answers_total',
    help: 'Answers by degradation rung and reason',
    labelNames: ['rung', 'reason'] as const,
    registers: [registry],
  });
  const served = new Counter({
    name: 'ckv_rank_served_total',
    help: 'Answers by why their bundle answered: it is active, it is a canary, or the request named it',
    labelNames: ['served_as'] as const,
    registers: [registry],
  });
  const runs = new Counter({
    name: 'ckv_rank_graph_runs_total',
    help: 'Runs of the rank graph, a run that users share counted for each; more than one for an answer if idle workers share its candidates',
    registers: [registry],
  });
  const candidates = new Counter({
    name: 'ckv_rank_candidates_total',
    help: 'Candidates scored; known tells whether the bundle has the item',
    labelNames: ['known'] as const,
    registers: [registry],
  });
  const explained = new Counter({
    name: 'ckv_rank_explained_total',
    help: 'Answers with an explanation of their scores, by its method',
    labelNames: ['method'] as const,
    registers: [registry],
  });
  const records = new Counter({
    name: 'ckv_rank_records_total',
    help: 'Answers by the record they used: found, none for the user, unread (a failure), or ignored; from a near copy or not',
    labelNames: ['record', 'copy'] as const,
    registers: [registry],
  });
  const copyAge = new Histogram({
    name: 'ckv_rank_copy_age_seconds',
    help: 'Age of the copies of records that answers used, of the near cache',
    buckets: [0.1, 1, 5, 10, 30, 60, 300, 900, 3_600],
    registers: [registry],
  });
  const recordBytes = new Histogram({
    name: 'ckv_rank_record_bytes',
    help: 'Size of the records that answers used',
    buckets: [64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576],
    registers: [registry],
  });
  const positions = new Histogram({
    name: 'ckv_rank_positions',
    help: 'Positions that answers attended to, merged recent interactions included',
    buckets: [0, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000],
    registers: [registry],
  });
  const historySlots = createHistorySlots(metrics);
  return {
    observe(answer, candidateCount) {
      const { timings, rung, rungReason, servedAs, partCount, unknownCandidateCount, basis, explanation } = answer;
      if (explanation) explained.inc({ method: explanation.method });
      for (const [stage, us] of Object.entries(timings)) if (us > 0) stageSeconds.observe({ stage }, us / 1e6);
      answers.inc({ rung, reason: rungReason });
      served.inc({ served_as: servedAs });
      runs.inc(partCount);
      candidates.inc({ known: 'true' }, candidateCount - unknownCandidateCount);
      if (unknownCandidateCount > 0) candidates.inc({ known: 'false' }, unknownCandidateCount);
      const copy = answer.recordAgeMs > 0;
      records.inc({ record: recordOf(answer), copy: String(copy) });
      if (copy) copyAge.observe(answer.recordAgeMs / 1_000);
      if (basis.recordBytes) recordBytes.observe(basis.recordBytes.length);
      positions.observe(answer.positionCount);
      historySlots.observe(basis);
    },
  };
}

function recordOf({ basis, coldUser }: RankAnswer): 'found' | 'none' | 'unread' | 'ignored' {
  if (basis.recordMissing) return 'unread';
  if (coldUser) return 'none';
  return basis.recordBytes ? 'found' : 'ignored';
}
