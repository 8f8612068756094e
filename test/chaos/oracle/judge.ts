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
import { type Count, createVerdict, RECORD_COUNTS, type RecordCount, type Verdict } from './verdict.js';

/** Causes faults and judges the system after each. */
export interface Judge {
  readonly verdict: Verdict;
  /** By fault, ms from its end to the recovery. {@link ALWAYS} is not among them. */
  readonly recoveries: readonly { readonly fault: string; readonly recoveredMs: number }[];
  /** Runs a scenario. An error ends it, and is a problem of the fault that was on. */
  run(scenario: () => Promise<void>): Promise<void>;
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
  /** Time for everything to be applied and for all ranking replicas to answer with history, each, ms. Default 60 s. */
  readonly recoveryMs?: number;
}

/** Parts of every scenario, without a fault. */
const ALWAYS: readonly string[] = ['no fault', 'the end'];

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
  recoveryMs: patienceMs = RECOVERY_MS,
}: JudgeParts): Judge {
  const { encodingId, encodesWithHistory } = reference.bundle.model;
  const verdict = createVerdict();
  const recoveries: { fault: string; recoveredMs: number }[] = [];
  const probes: CollectiveKvClient[] = fleet.hops
    .of('backend-ranking')
    .map(({ pipe }) => createCollectiveKvClient({ rankingTarget: `127.0.0.1:${pipe.port}`, rankTimeoutMs: 2_000 }));
  /** Users whose records were compared after their last interaction. */
  const settled = new Set<UserJournal>();
  const broken = new Set<UserJournal>();
  let [asideJobs, failureCount] = [0, 0];
  let current = '';

  const lifetimesOf = async (journals: readonly UserJournal[]) => {
    const read = journals.map(async (journal) => {
      const key = recordKey(encodingId, journal.userId);
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

  function report(fault: string, what: string, counts: Partial<Record<Count, number>> = {}): void {
    verdict.add({ fault, what, counts });
    onProgress(`    WRONG  ${fault}: ${what}`);
  }

  /** True if no job is left. */
  async function drained(): Promise<boolean> {
    const { waiting, active, other } = await readQueueState(fleet.queueReader);
    return waiting + active + other === 0;
  }

  async function recover(fault: string, mayBreak: boolean): Promise<number> {
    const endedMs = performance.now();
    const wanted = acceptedNow();
    const [user] = wanted.keys();
    if (mayBreak) await backends.pause(); // then an empty queue shows that nothing else will be applied
    const everythingApplied = await until(mayBreak ? drained : () => applied(wanted), patienceMs);
    if (mayBreak) backends.resume();
    const everythingFull = await until(() => fullRungs(user?.userId ?? 'nobody'), patienceMs);
    if (!everythingApplied) report(fault, `not everything is applied ${patienceMs / 1_000} s after the fault`);
    if (!everythingFull) report(fault, `a ranking replica has no history ${patienceMs / 1_000} s after the fault`);
    return performance.now() - endedMs;
  }

  /** Compares everything while no call is under way. */
  async function judge(fault: string, mayBreak: Partial<Record<RecordCount, number>>): Promise<void> {
    await backends.pause();
    const open = backends.journals.filter((journal) => !settled.has(journal) && !broken.has(journal));
    await until(drained, Math.min(patienceMs, DRAIN_MS));
    const queue = await readQueueState(fleet.queueReader);
    const left = queue.waiting + queue.active + queue.other + Math.abs(queue.aside - asideJobs);
    if (left > 0) {
      report(fault, `jobs are left: ${JSON.stringify(queue)}, ${asideJobs} should be set aside`, { stuck: left });
      asideJobs = queue.aside;
    }
    const orphans = await findOrphans(fleet.queueReader);
    if (orphans.length > 0) {
      const some = orphans.slice(0, 3).join(' ');
      report(fault, `${orphans.length} jobs are in no list: ${some}`, { stuck: orphans.length });
    }
    const allowance = { lost: 0, duplicated: 0, outOfOrder: 0, ...mayBreak };
    for (const journal of open) await compare(fault, journal, allowance);
    for (const journal of open) if (!backends.isOpen(journal)) settled.add(journal);

    const wrong = await answers.run(broken);
    for (const [what, count] of countsOf(wrong)) report(fault, what, { wrongScores: count });
    const failures = ranks.failures.slice(failureCount);
    failureCount = ranks.failures.length;
    for (const [what, count] of countsOf(failures))
      report(fault, `${count} rank requests failed: ${what}`, { failedRequests: count });
    backends.resume();
  }

  /** @param allowance what the fault may break yet; becomes less by what this record shows */
  async function compare(fault: string, journal: UserJournal, allowance: Record<RecordCount, number>): Promise<void> {
    const bytes = (await fleet.reader.getBuffer(recordKey(encodingId, journal.userId))) ?? undefined;
    const rows = await reference.rowsAfter(journal, journal.steps.length);
    const rowsNameEvents = !encodesWithHistory;
    const finding = checkRecord({ journal, bytes, encodingId, rows, rowsNameEvents });
    if (finding.problem === '') {
      journal.seenApplied(journal.steps.length);
      return;
    }
    broken.add(journal);
    const { lost, duplicated, outOfOrder, problem } = finding;
    const counts = { lost, duplicated, outOfOrder };
    const counted = lost + duplicated + outOfOrder > 0; // a difference that is none of them is never allowed
    if (counted && RECORD_COUNTS.every((count) => counts[count] <= allowance[count])) {
      for (const count of RECORD_COUNTS) allowance[count] -= counts[count];
      verdict.allow(counts);
      return;
    }
    report(fault, `${journal.userId} (${lost} lost, ${duplicated} double, ${outOfOrder} moved): ${problem}`, counts);
  }

  return {
    verdict,
    recoveries,
    async run(scenario) {
      try {
        await scenario();
        if (onlyFaults !== '' && recoveries.length === 0) throw new Error(`no fault has the text "${onlyFaults}"`);
      } catch (error) {
        onProgress(`    ${(error as Error).stack}`);
        report(current, `the scenario ended: ${(error as Error).message}`);
      }
    },
    async untilApplied(journal) {
      const wanted = new Map([[journal, journal.after(journal.acceptedCount).lifetimeCount]]);
      if (!(await until(() => applied(wanted), patienceMs))) throw new Error(`${journal.userId} is not applied`);
    },
    async fault(name, strike, { asideJobs: more = 0, storeMayGoBack = false, mayBreak } = {}) {
      if (!name.includes(onlyFaults) && !ALWAYS.includes(name)) return;
      current = name;
      if (storeMayGoBack) for (const journal of backends.journals) journal.unsee();
      await strike();
      if (storeMayGoBack) for (const journal of backends.journals) journal.unsee();
      asideJobs += more;
      const recoveredMs = Math.round(await recover(name, mayBreak !== undefined));
      if (!ALWAYS.includes(name)) recoveries.push({ fault: name, recoveredMs });
      await judge(name, mayBreak?.() ?? {});
      onProgress(`    ${name}: recovered after ${recoveredMs} ms, ${backends.acceptedCount} interactions`);
      if (stopAt.some((count) => verdict[count] > 0)) throw new Error('a promise was broken');
      current = '';
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
