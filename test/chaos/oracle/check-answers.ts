import type { Ranking } from '@collectivekv/client';
import type { RankRequest } from '../load/ranks.js';
import type { UserJournal } from '../load/user-journal.js';
import type { Reference } from './reference.js';

/** Compares the answers of rank requests with the scores of every history that they may have had. */
export interface AnswerCheck {
  /** Notes an answer. It is compared later. */
  add(request: RankRequest, answer: Ranking, mostSteps: number): void;
  /**
   * Compares the noted answers of the reference's bundle for other users than these. Returns one line for each answer
   * that is wrong.
   */
  run(except: ReadonlySet<UserJournal>): Promise<string[]>;
}

interface Noted {
  readonly request: RankRequest;
  readonly answer: Ranking;
  readonly mostSteps: number;
}

const TOLERANCE = 1e-4;
/** Answers whose scores are compared in one run. Of more answers, the positions are compared. */
const MAX_SCORED = 400;

/**
 * Creates the check.
 * @param isOurs true for answers that the reference's bundle gave. Default: those of its encoding, whose bundles are copies
 * of each other
 */
export function createAnswerCheck(
  reference: Reference,
  isOurs: (answer: Ranking) => boolean = ({ info }) => info.encodingId === reference.bundle.model.encodingId,
): AnswerCheck {
  let noted: Noted[] = [];

  /** Returns what is wrong with an answer, or an empty text. */
  async function problemOf({ request, answer, mostSteps }: Noted, scored: boolean): Promise<string> {
    const { journal, input, recent, leastSteps } = request;
    const { rung, rungReason, positionCount, mergedCount } = answer.info;
    if (rung !== 'full') return rungReason === '' ? `${rung} without a reason` : '';
    const { maxPositions } = reference.bundle.model.manifest;
    let why = `${positionCount} positions, ${mergedCount} of them merged, fit no state from step ${leastSteps} to step ${mostSteps}`;
    for (let steps = leastSteps; steps <= mostSteps; steps++) {
      const state = journal.after(steps);
      // An event that has left the ring is merged again: a late request may bring such events.
      const merged = recent.filter(({ hash }) => !state.ring.some((entry) => entry.hash === hash));
      if (merged.length !== mergedCount) continue;
      if (Math.min(maxPositions, state.events.length + merged.length) !== positionCount) continue;
      if (recent.length === 0) journal.seenApplied(steps);
      if (!scored || journal.undecided.size > 0) return '';
      const history = await reference.rowsAfter(journal, steps);
      const behind = merged.length > 0 ? await reference.rowsBehind(history, merged) : [];
      const expected = await reference.scores([...history, ...behind], input);
      const worst = Math.max(...expected.map((score, i) => Math.abs(score - (answer.scores[i] ?? Number.NaN))));
      if (worst <= TOLERANCE) return '';
      why = `scores of ${positionCount} positions, ${mergedCount} of them merged, differ by ${worst} after step ${steps}`;
    }
    return why;
  }

  return {
    add(request, answer, mostSteps) {
      noted.push({ request, answer, mostSteps });
      // A fresh answer shows how far the record is: later requests must not see less.
      const { rung, positionCount } = answer.info;
      const simple = request.recent.length === 0 && request.journal.steps.every(({ kind }) => kind === 'record');
      if (rung === 'full' && simple && positionCount <= request.journal.steps.length) {
        request.journal.seenApplied(positionCount);
      }
    },
    async run(except) {
      const batch = noted.filter(({ request, answer }) => !except.has(request.journal) && isOurs(answer));
      noted = [];
      const every = Math.max(1, Math.ceil(batch.length / MAX_SCORED));
      const problems: string[] = [];
      for (const [i, one] of batch.entries()) {
        const problem = await problemOf(one, i % every === 0);
        if (problem !== '') problems.push(`an answer for ${one.request.journal.userId}: ${problem}`);
      }
      return problems;
    },
  };
}
