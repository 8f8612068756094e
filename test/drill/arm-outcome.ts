import type { Findings } from './oracle.js';
import type { PhaseRow } from './phase-log.js';

/** What an arm of the drill showed. */
export interface ArmOutcome {
  readonly arm: string;
  readonly phases: readonly PhaseRow[];
  readonly interactions: number;
  /** Calls that were sent again although they had succeeded. */
  readonly repeatedCalls: number;
  /** Kills by what was killed. */
  readonly kills: Readonly<Record<string, number>>;
  readonly recordsCompared: number;
  readonly answersCompared: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly outOfOrder: number;
  readonly wrongAnswers: number;
  readonly failedRequests: number;
  /** Below this, served scores count as fallen to the cold level: the mean of the warm and the cold AUC. */
  readonly aucBound: number;
  readonly seconds: number;
  /** What is wrong; empty if every promise was kept. */
  readonly problems: readonly string[];
}

/** Parts of {@link outcomeOf}. */
export interface OutcomeParts {
  readonly arm: string;
  readonly phases: readonly PhaseRow[];
  readonly findings: Findings;
  readonly failures: readonly string[];
  /** Why the drill ended early; empty if it did not. */
  readonly ended: string;
  readonly interactions: number;
  readonly repeatedCalls: number;
  readonly kills: Readonly<Record<string, number>>;
  readonly seconds: number;
}

/** The phase in which the histories are recorded. Scores are not judged yet. */
export const HISTORIES = 'histories are recorded';
/** The phase after a switch without a backfill. Its scores must be cold, or the measure sees nothing. */
export const CONTROL = 'control: v3 without a backfill';
const MAX_LISTED = 20;

/** Judges an arm. Times are reported, not judged. */
export function outcomeOf(parts: OutcomeParts): ArmOutcome {
  const { arm, findings, failures, ended, interactions, repeatedCalls, kills, seconds } = parts;
  const phases = parts.phases.filter(({ phase }) => phase !== HISTORIES);
  const [warm] = phases;
  const aucBound = ((warm?.auc ?? Number.NaN) + (warm?.coldAuc ?? Number.NaN)) / 2;
  const control = phases.find(({ phase }) => phase === CONTROL);
  const fallen = phases.filter((one) => one !== control && !(one.lowestAuc > aucBound));
  const degraded = phases.filter((one) => one.degraded > 0);
  const problems = [
    ended,
    ...findings.problems.slice(0, MAX_LISTED),
    failures.length > 0 ? `${failures.length} rank requests failed; the first: ${failures[0]}` : '',
    ...fallen.map(({ phase, lowestAuc }) => `${phase}: an AUC of ${round(lowestAuc)}, not above ${round(aucBound)}`),
    ...degraded.map(({ phase, degraded }) => `${phase}: ${degraded} answers on a lower rung`),
    control && !(control.auc < aucBound) ? `the control has an AUC of ${round(control.auc)}: nothing was measured` : '',
  ].filter((text) => text !== '');
  const { recordsCompared, answersCompared, lost, duplicated, outOfOrder, wrongAnswers } = findings;
  return {
    arm,
    phases: phases.map(rounded),
    interactions,
    repeatedCalls,
    kills,
    recordsCompared,
    answersCompared,
    lost,
    duplicated,
    outOfOrder,
    wrongAnswers,
    failedRequests: failures.length,
    aucBound: round(aucBound),
    seconds,
    problems,
  };
}

function rounded(row: PhaseRow): PhaseRow {
  const { seconds, p50Ms, p99Ms, auc, lowestAuc, coldAuc, coverage } = row;
  return {
    ...row,
    seconds: Math.round(seconds),
    p50Ms: Math.round(p50Ms * 10) / 10,
    p99Ms: Math.round(p99Ms * 10) / 10,
    auc: round(auc),
    lowestAuc: round(lowestAuc),
    coldAuc: round(coldAuc),
    coverage: coverage === null ? null : round(coverage),
  };
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}
