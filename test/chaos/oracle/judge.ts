import { setTimeout as sleep } from 'node:timers/promises';
import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import type { Fleet } from '../fleet/fleet.js';
import type { Backends } from '../load/backends.js';
import type { Ranks } from '../load/ranks.js';
import type { UserJournal } from '../load/user-journal.js';
import type { FaultOptions } from '../scenario.js';
import type { AnswerCheck } from './check-answers.js';
import { checkRecord } from './check-record.js';
import { findOrphans, readQueueState } from './queue-state.js';
import { recordKey } from './record-bytes.js';
import type { Reference } from './reference.js';
import { type Count, createVerdict, type Verdict } from './verdict.js';

/** Causes faults and judges the system after each. */
export interface Judge {
  readonly verdict: Verdict;
  /** By fault, ms from its end to the recovery. */
  readonly recoveries: readonly { readonly fault: string; readonly recoveredMs: number }[];
  untilApplied(journal: UserJournal): Promise<void>;
  fault(name: string, strike: () => Promise<void>, options?: FaultOptions): Promise<void>;
  close(): void;
}

/** Parts of {@link createJudge}. */
export interface JudgeParts {
  readonly fleet: Fleet;
  readonly backends: Backends;
  readonly ranks: Ranks;
  readonly answers: AnswerCheck;
  readonly reference: Reference;
  readonly onProgress: (text: string) => void;
  /** Causes only the faults whose name has this text. */
  readonly onlyFaults: string;
  /** Throws after the first fault with one of these counts above zero. */
  readonly stopAt: readonly Count[];
}

/** Parts of every scenario, without a fault. */
export const ALWAYS: readonly string[] = ['no fault', 'the end'];

/** How many interactions a fault may lose, and how many it has lost. */
interface LossBound {
  readonly count: number;
  lostCount: number;
}

const RECOVERY_MS = 60_000;
const DRAIN_MS = 45_000;
const POLL_MS = 20;
const LIFETIME_AT = 14;
const LIFETIME_BYTES = 6;

/** Creates the judge of a fleet under load. */
export function createJudge({
  fleet,
  backends,
  ranks,
  answers,
  reference,
  onProgress,
  onlyFaults,
  stopAt,
}: JudgeParts): Judge {
  const { id: bundleId, encodesWithHistory } = reference.bundle.model;
  const verdict = createVerdict();
  const recoveries: { fault: string; recoveredMs: number }[] = [];
  const probes: CollectiveKvClient[] = fleet.hops
    .of('backend-ranking')
    .map(({ pipe }) => createCollectiveKvClient({ rankingTarget: `127.0.0.1:${pipe.port}`, rankTimeoutMs: 2_000 }));
  /** Users whose records were compared after their last interaction. */
  const settled = new Set<UserJournal>();
  const broken = new Set<UserJournal>();
  let [asideJobs, failureCount] = [0, 0];

  const lifetimesOf = async (journals: readonly UserJournal[]) => {
    const read = journals.map(async (journal) => {
      const key = recordKey(bundleId, journal.userId);
      const bytes = await fleet.reader.getrangeBuffer(key, LIFETIME_AT, LIFETIME_AT + LIFETIME_BYTES - 1);
      return bytes.length === LIFETIME_BYTES ? bytes.readUIntLE(0, LIFETIME_BYTES) : 0;
    });
    return Promise.all(read);
  };

  /** True if these interactions are applied. */
  async function applied(wanted: ReadonlyMap<UserJournal, number>): Promise<boolean> {
    const journals = [...wanted.keys()];
    const lifetimes = await lifetimesOf(journals);
    for (const [i, journal] of journals.entries()) journal.seenLifetime(lifetimes[i] ?? 0);
    return journals.every((journal, i) => broken.has(journal) || (lifetimes[i] ?? 0) >= (wanted.get(journal) ?? 0));
  }

  async function until(condition: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
    const deadlineMs = performance.now() + timeoutMs;
    while (performance.now() < deadlineMs) {
      if (await condition().catch(() => false)) return true;
      await sleep(POLL_MS);
    }
    return false;
  }

  /** Returns the number of interactions that were accepted for each user. */
  function acceptedNow(): Map<UserJournal, number> {
    const open = backends.journals.filter((journal) => !settled.has(journal));
    return new Map(open.map((journal) => [journal, journal.after(journal.acceptedCount).lifetimeCount]));
  }

  async function fullRungs(userId: string): Promise<boolean> {
    const answered = probes.map(async (probe) => {
      await probe.rank({ userId, candidateIds: ['any'], history: 'required' });
    });
    return (await Promise.allSettled(answered)).every(({ status }) => status === 'fulfilled');
  }

  function report(fault: string, problem: string): void {
    verdict.problems.push(`${fault}: ${problem}`);
    onProgress(`    WRONG  ${fault}: ${problem}`);
  }

  /** True if no job is left. */
  async function drained(): Promise<boolean> {
    const { waiting, active, other } = await readQueueState(fleet.queueReader);
    return waiting + active + other === 0;
  }

  async function recover(fault: string, mayLose: boolean): Promise<number> {
    const endedMs = performance.now();
    const wanted = acceptedNow();
    const [user] = wanted.keys();
    if (mayLose) await backends.pause(); // then an empty queue shows that nothing else will be applied
    const everythingApplied = await until(mayLose ? drained : () => applied(wanted), RECOVERY_MS);
    if (mayLose) backends.resume();
    const everythingFull = await until(() => fullRungs(user?.userId ?? 'nobody'), RECOVERY_MS);
    if (!everythingApplied) report(fault, `not everything is applied ${RECOVERY_MS / 1_000} s after the fault`);
    if (!everythingFull) report(fault, `a ranking replica has no history ${RECOVERY_MS / 1_000} s after the fault`);
    return performance.now() - endedMs;
  }

  /** Compares everything while no call is under way. */
  async function judge(fault: string, mayLose: () => number): Promise<void> {
    await backends.pause();
    const open = backends.journals.filter((journal) => !settled.has(journal) && !broken.has(journal));
    await until(drained, DRAIN_MS);
    const queue = await readQueueState(fleet.queueReader);
    const left = queue.waiting + queue.active + queue.other + Math.abs(queue.aside - asideJobs);
    if (left > 0) {
      verdict.stuck += left;
      report(fault, `jobs are left: ${JSON.stringify(queue)}, ${asideJobs} should be set aside`);
      asideJobs = queue.aside;
    }
    const orphans = await findOrphans(fleet.queueReader);
    if (orphans.length > 0) {
      verdict.stuck += orphans.length;
      report(fault, `${orphans.length} jobs are in no list: ${orphans.slice(0, 3).join(' ')}`);
    }
    const bound: LossBound = { count: mayLose(), lostCount: 0 };
    for (const journal of open) await compare(fault, journal, bound);
    if (bound.lostCount > 0) onProgress(`    ${fault}: ${bound.lostCount} lost, at most ${bound.count} may be`);
    for (const journal of open) if (!backends.isOpen(journal)) settled.add(journal);

    const wrong = await answers.run(broken);
    verdict.wrongScores += wrong.length;
    for (const problem of wrong.slice(0, 5)) report(fault, problem);
    const failures = ranks.failures.slice(failureCount);
    failureCount = ranks.failures.length;
    verdict.failedRequests += failures.length;
    for (const [problem, count] of countsOf(failures)) report(fault, `${count} rank requests failed: ${problem}`);
    backends.resume();
  }

  async function compare(fault: string, journal: UserJournal, bound: LossBound): Promise<void> {
    const bytes = (await fleet.reader.getBuffer(recordKey(bundleId, journal.userId))) ?? undefined;
    const rows = await reference.rowsAfter(journal, journal.steps.length);
    const rowsNameEvents = !encodesWithHistory;
    const finding = checkRecord({ journal, bytes, bundleId, rows, rowsNameEvents });
    if (finding.problem === '') {
      journal.seenApplied(journal.steps.length);
      return;
    }
    broken.add(journal);
    const onlyLost = finding.lost > 0 && finding.duplicated + finding.outOfOrder === 0;
    if (onlyLost && bound.lostCount + finding.lost <= bound.count) {
      bound.lostCount += finding.lost;
      verdict.lostWithinBound += finding.lost;
      return;
    }
    verdict.lost += finding.lost;
    verdict.duplicated += finding.duplicated;
    verdict.outOfOrder += finding.outOfOrder;
    const { lost, duplicated, outOfOrder } = finding;
    report(fault, `${journal.userId} (${lost} lost, ${duplicated} double, ${outOfOrder} moved): ${finding.problem}`);
  }

  return {
    verdict,
    recoveries,
    async untilApplied(journal) {
      const wanted = new Map([[journal, journal.after(journal.acceptedCount).lifetimeCount]]);
      if (!(await until(() => applied(wanted), RECOVERY_MS))) throw new Error(`${journal.userId} is not applied`);
    },
    async fault(name, strike, { asideJobs: more = 0, storeMayGoBack = false, mayLose } = {}) {
      if (!name.includes(onlyFaults) && !ALWAYS.includes(name)) return;
      if (storeMayGoBack) for (const journal of backends.journals) journal.unsee();
      await strike().catch((error: Error) => {
        throw new Error(`${name}: ${error.message}`, { cause: error });
      });
      if (storeMayGoBack) for (const journal of backends.journals) journal.unsee();
      asideJobs += more;
      const recoveredMs = Math.round(await recover(name, mayLose !== undefined));
      recoveries.push({ fault: name, recoveredMs });
      await judge(name, mayLose ?? (() => 0));
      onProgress(`    ${name}: recovered after ${recoveredMs} ms, ${backends.acceptedCount} interactions`);
      if (stopAt.some((count) => verdict[count] > 0)) throw new Error('a promise was broken');
    },
    close() {
      for (const probe of probes) probe.close();
    },
  };
}

function countsOf(texts: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}
