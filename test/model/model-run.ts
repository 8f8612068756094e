// One run of the model: its steps, and what must hold during and after them.
import { USERS } from './feed.js';
import { SERVED, Violation } from './record-check.js';
import { type Happening, letPass, settled, tooLate } from './schedule.js';
import type { Step } from './steps.js';
import { modelNowMs } from './virtual-time.js';
import { type Bench, type Setting, startWritePath, type WritePath } from './write-path.js';

/** Longest time of the model until everything accepted is settled, once nothing fails any more. */
const SETTLE_MS = 60_000;
/** Lines of the log in an error. */
const LOG_LINES = 120;

/** Counts over runs. */
export interface RunCounts {
  runs: number;
  steps: number;
  /** Commands and replies, calls and answers, and ends of pauses. */
  happenings: number;
  /** Interactions that were accepted. */
  interactions: number;
  /** Happenings after their sender gave up or died. */
  late: number;
}

/** Runs steps on a new write path. Throws with the log of the run if a promise was broken. */
export async function runModel(
  bench: Bench,
  setting: Setting,
  steps: readonly Step[],
  counts: RunCounts,
): Promise<void> {
  const path = await startWritePath(bench, setting);
  const lines: string[] = [];
  const startMs = modelNowMs();
  const note = (text: string) => lines.push(`${modelNowMs() - startMs} ms: ${text}`);
  const happen = async ({ text, happen: begin }: Happening) => {
    note(text);
    counts.happenings++;
    if (text.startsWith('late: ')) counts.late++;
    await begin();
    await settled();
  };
  try {
    for (const step of steps) {
      note(`-- ${step.text}`);
      await step.act(path, happen);
      await settled();
      counts.steps++;
    }
    note('-- nothing fails any more');
    await heal(path, happen);
    await untilSettled(path, happen);
    note('-- all that is late happens');
    for (let next = tooLate(path); next[0]; next = tooLate(path)) await happen(next[0]);
    await untilSettled(path, happen);
    note('-- jobs that were set aside are retried');
    await path.cure();
    await untilSettled(path, happen);
    await path.records.atTheEnd([...SERVED, USERS.poison]);
    const { aside } = await path.counts();
    if (aside !== path.feed.unreadableCount()) throw new Violation(`${aside} jobs are set aside at the end`);
    counts.runs++;
    for (const userId of Object.values(USERS)) counts.interactions += path.feed.sentCount(userId);
  } catch (error) {
    const { message, stack } = error as Error;
    const problem = error instanceof Violation ? `Violation: ${message}` : `${message}\n${stack}`;
    throw new Error(`${problem}\n${lines.slice(-LOG_LINES).join('\n')}`);
  } finally {
    await path.close();
  }
}

async function heal(path: WritePath, happen: (happening: Happening) => Promise<void>): Promise<void> {
  path.removeTraps();
  for (const actor of path.actors()) {
    actor.stalled = false;
    actor.link.refuse(0);
  }
  if (!path.actors().some(({ kind, stopping }) => kind === 'updater' && !stopping)) path.startUpdater();
  await letPass(path, 1, happen);
}

/**
 * Lets everything happen until no job waits or is active. Throws if that takes too long, or if a record is wrong then.
 */
async function untilSettled(path: WritePath, happen: (happening: Happening) => Promise<void>): Promise<void> {
  let last = -1;
  const isSettled = async () => {
    last = (await path.counts()).unsettled;
    return last === 0 && path.feed.isDone();
  };
  await letPass(path, SETTLE_MS, happen, isSettled);
  if (last !== 0 || !path.feed.isDone()) throw new Violation(`${last} jobs are stuck`);
  await path.records.atTheEnd(SERVED);
}
