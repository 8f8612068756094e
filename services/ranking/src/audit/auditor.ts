import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, steadyNowMs, toCkvError } from '@collectivekv/domain';
import type { RankAnswer } from '../ranker.js';
import type { AuditCheck } from './audit-check.js';
import type { AuditMetrics } from './audit-metrics.js';
import { compareScores } from './score-comparison.js';

/** Computes the scores of some answers again, after they were sent, and compares. */
export interface Auditor {
  /** Answers that wait. */
  readonly waitingCount: number;
  /** Takes an answer if it is one of the sample. Returns at once, and never throws. */
  offer(answer: RankAnswer): void;
  /** Drops what waits, and waits for the check under way. */
  close(): Promise<void>;
}

/** Options of {@link createAuditor}. */
export interface AuditorOptions {
  readonly checks: readonly AuditCheck[];
  /** Share of the answers that are audited, 0 to 1. */
  readonly share: number;
  /** Most answers that are audited in a second. */
  readonly maxPerS: number;
  /** Largest difference between scores that must agree. */
  readonly tolerance: number;
  /** True while requests want the machine: audits wait. */
  readonly busy: () => boolean;
  readonly metrics: AuditMetrics;
  readonly log: { warn(fields: object, message: string): void };
  /** A number from 0 to 1, below 1. Default: Math.random. */
  readonly random?: () => number;
}

/** Most answers that wait: each keeps its request in memory. */
const MAX_WAITING = 16;
/** Longest time that an answer waits for an idle moment, ms, and the time between two looks. */
const MAX_BUSY_MS = 10_000;
const LOOK_EVERY_MS = 20;
/** Shortest time between two log lines of a kind, ms. */
const REPORT_EVERY_MS = 10_000;

/** Creates an auditor. */
export function createAuditor(options: AuditorOptions): Auditor {
  const { checks, share, maxPerS, tolerance, busy, metrics, log, random = Math.random } = options;
  const waiting: RankAnswer[] = [];
  const closed = new AbortController();
  let running: Promise<void> | undefined;
  let allowance = maxPerS; // answers that may be taken now
  let countedAtMs = steadyNowMs();
  const report = { breach: reporter(log), failure: reporter(log) };

  function isAllowed(): boolean {
    const nowMs = steadyNowMs();
    allowance = Math.min(maxPerS, allowance + ((nowMs - countedAtMs) / 1_000) * maxPerS);
    countedAtMs = nowMs;
    if (allowance < 1) return false;
    allowance--;
    return true;
  }

  const countAll = (outcome: 'dropped' | 'busy') => {
    for (const { name } of checks) metrics.count(name, outcome);
  };

  async function auditAll(): Promise<void> {
    for (let answer = waiting[0]; answer && !closed.signal.aborted; answer = waiting[0]) {
      if (await becomesIdle()) for (const check of checks) await audit(check, answer);
      else countAll('busy');
      waiting.shift();
    }
    running = undefined;
  }

  async function becomesIdle(): Promise<boolean> {
    const untilMs = steadyNowMs() + MAX_BUSY_MS;
    while (busy()) {
      if (steadyNowMs() >= untilMs) return false;
      await sleep(LOOK_EVERY_MS, undefined, { ref: false, signal: closed.signal }).catch(() => undefined);
      if (closed.signal.aborted) return false;
    }
    return true;
  }

  async function audit(check: AuditCheck, answer: RankAnswer): Promise<void> {
    if (closed.signal.aborted) return;
    try {
      const result = await check.run(answer);
      if (result.kind === 'scores') compare(check, answer, result.scores);
      else metrics.count(check.name, result.kind);
    } catch (thrown) {
      if (closed.signal.aborted) return;
      metrics.count(check.name, 'failed');
      const { reason, message } = toCkvError(thrown);
      report.failure({ check: check.name, reason, problem: message }, 'an answer cannot be audited');
    }
  }

  function compare({ name, mustAgree }: AuditCheck, answer: RankAnswer, scores: Float32Array): void {
    if (scores.length !== answer.scores.length) throw new CkvError('bug', 'an audit gave another number of scores');
    const comparison = compareScores(answer.scores, scores);
    const breach = mustAgree && !(comparison.largestDifference <= tolerance);
    metrics.compare(name, comparison, breach);
    if (!breach) return;
    const { bundleId, positionCount, mergedCount, partCount } = answer;
    const facts = { candidateCount: scores.length, positionCount, mergedCount, partCount };
    report.breach({ check: name, bundleId, ...comparison, tolerance, ...facts }, 'served scores are not confirmed');
  }

  return {
    get waitingCount() {
      return waiting.length;
    },
    offer(answer) {
      if (closed.signal.aborted || random() >= share || !isAllowed()) return;
      if (waiting.length >= MAX_WAITING) return countAll('dropped');
      waiting.push(answer);
      running ??= new Promise<void>((resolve) => setImmediate(resolve)).then(auditAll); // after the answer was sent
    },
    async close() {
      closed.abort();
      await running;
      waiting.length = 0;
    },
  };
}

/** Returns a function that logs at most once in {@link REPORT_EVERY_MS}, with the number of lines left out before. */
function reporter(log: AuditorOptions['log']): (fields: object, message: string) => void {
  let reportedMs = Number.NEGATIVE_INFINITY;
  let leftOut = 0;
  return (fields, message) => {
    const nowMs = steadyNowMs();
    if (nowMs - reportedMs < REPORT_EVERY_MS) {
      leftOut++;
      return;
    }
    log.warn({ ...fields, leftOut }, message);
    reportedMs = nowMs;
    leftOut = 0;
  };
}
