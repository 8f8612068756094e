import { allDone, type Interaction, toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import { type PartitionQueue, recordJobData } from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';
import type { Fence } from '../partitions/fence.js';
import type { AppendOptions, EncodedInteractions, RecordWriter } from '../records/record-writer.js';
import type { AppendWave, EraseWave, ReadJob, Wave } from './append-plan.js';
import type { Erase } from './erase.js';
import type { LateCalls } from './late-calls.js';
import { createRefusals, type Refusals } from './refusals.js';
import { isTransient, type RetryWhileHeld, requireHeld } from './retry-while-held.js';
import type { SetAside } from './set-aside.js';

/** The waves of one partition, in order. */
export interface PartitionWork {
  readonly queue: PartitionQueue;
  readonly fence: Fence;
  readonly waves: readonly Wave[];
}

/** Waves, and the rows of their interactions. */
export interface EncodedWaves {
  readonly works: readonly PartitionWork[];
  readonly encoded: EncodedInteractions;
}

/** A batch of jobs that is ready to be applied. */
export interface PreparedBatch extends EncodedWaves {
  /** The spans that queued the batch's jobs, as traceparents. */
  readonly traceparents: readonly string[];
}

/**
 * Settles the jobs of a batch: their interactions are in their records, or set aside.
 * @throws transient errors: a partition is lost, Redis is unreachable, a shutdown began
 */
export type ApplyBatch = (batch: EncodedWaves) => Promise<void>;

/** Parts of {@link createApplyBatch}. */
export interface ApplyParts {
  readonly writer: Pick<RecordWriter, 'append'>;
  readonly erase: Erase;
  readonly retryWhileHeld: RetryWhileHeld;
  readonly setAside: SetAside;
  readonly lateCalls: LateCalls;
  /** Ends waits. */
  readonly signal: AbortSignal;
  readonly metrics: Pick<UpdaterMetrics, 'interactions' | 'jobs' | 'servableSeconds'>;
  readonly log: Logger;
}

/** What the appends of one step share. */
interface AppendCalls extends Pick<AppendOptions, 'writes'> {
  readonly fences: readonly Fence[];
  readonly encoded: EncodedInteractions;
  /** Receives the users some of whose interactions were applied before. */
  readonly repeatedUsers: Set<string>;
}

/** One partition's wave of the current step. */
interface Step<W extends Wave> {
  readonly work: PartitionWork;
  readonly wave: W;
}

/** Creates the function that applies batches wave by wave: the i-th waves of all partitions are one step. */
export function createApplyBatch({
  writer,
  erase,
  retryWhileHeld,
  setAside,
  lateCalls,
  signal,
  metrics,
  log,
}: ApplyParts): ApplyBatch {
  /** Appends the waves of one step together, then settles the jobs that are done. */
  async function appendStep(
    steps: readonly Step<AppendWave>[],
    encoded: EncodedInteractions,
    refusals: Refusals,
  ): Promise<void> {
    const fences = steps.map(({ work }) => work.fence);
    const parts = steps.map(({ work, wave }) => ({ work, wave, users: refusals.without(wave) }));
    const byUser = new Map(parts.flatMap(({ users }) => users));
    // An encoding that is being warmed in a partition gets the interactions from the event log, in their turn.
    const warming = new Map(parts.flatMap(({ work, users }) => users.map(([userId]) => [userId, work.queue.warming])));
    const writes = (encodingId: string, userId: string) => !warming.get(userId)?.pending().has(encodingId);
    const repeatedUsers = new Set<string>();
    const calls = { fences, encoded, writes, repeatedUsers };
    let refused: ReadonlySet<string> = new Set();
    await lateCalls.beforeAppend(byUser, signal);
    try {
      await append(byUser, calls);
    } catch (thrown) {
      const cause = toCkvError(thrown);
      if (isTransient(cause)) throw cause;
      log.warn({ reason: cause.reason, problem: cause.message }, 'an append was refused; appending user by user');
      refused = await appendUserByUser(byUser, calls, refusals);
    }
    const settling = parts.map(async ({ work, wave, users }) => {
      requireHeld([work.fence]);
      await work.queue.log(
        users.flatMap(([userId, interactions]) => (refused.has(userId) ? [] : interactions)),
        repeatedUsers,
      );
      if (wave.remember) await work.queue.remember(wave.remember.job.taken, wave.remember.progress);
      await settle(work, wave.done, refusals);
    });
    await allDone(settling);
  }

  /** Appends each user alone. Notes and returns the users whose append is refused. */
  async function appendUserByUser(
    byUser: ReadonlyMap<string, readonly Interaction[]>,
    calls: AppendCalls,
    refusals: Refusals,
  ): Promise<ReadonlySet<string>> {
    const refused = new Set<string>();
    for (const [userId, interactions] of byUser) {
      try {
        await append(new Map([[userId, interactions]]), calls);
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (isTransient(error)) throw error;
        refusals.add(interactions, error);
        refused.add(userId);
      }
    }
    return refused;
  }

  async function append(
    byUser: ReadonlyMap<string, readonly Interaction[]>,
    { fences, encoded, writes, repeatedUsers }: AppendCalls,
  ): Promise<void> {
    if (byUser.size === 0) return;
    // If this process dies with a call under way, the call must not be applied after another updater has taken over.
    let endedByMs = Number.NEGATIVE_INFINITY;
    const validUntilMs = () => {
      endedByMs = Math.max(...fences.map((fence) => fence.endedByMs()));
      return Math.min(...fences.map((fence) => fence.validUntilMs()));
    };
    const counts = await retryWhileHeld(fences, async () => {
      try {
        return await writer.append(byUser, encoded, { validUntilMs, writes });
      } catch (thrown) {
        if (isTransient(toCkvError(thrown))) lateCalls.appendFailed(byUser, endedByMs);
        throw thrown;
      }
    });
    for (const userId of counts.repeatedUsers) repeatedUsers.add(userId);
    metrics.interactions.inc({ outcome: 'appended' }, counts.appliedCount);
    metrics.interactions.inc({ outcome: 'duplicate' }, counts.duplicateCount);
  }

  /** Completes jobs, and sets aside those with refused interactions. */
  async function settle({ queue }: PartitionWork, jobs: readonly ReadJob[], refusals: Refusals): Promise<void> {
    const done = jobs.filter((read) => !refusals.of(read)).map(({ taken }) => taken);
    if (done.length > 0) await queue.complete(done);
    metrics.jobs.inc({ outcome: 'done' }, done.length);
    for (const { queuedAtMs } of done) metrics.servableSeconds.observe(Math.max(0, Date.now() - queuedAtMs) / 1000);
    for (const read of jobs) {
      const refusal = refusals.of(read);
      if (refusal) await setAside(queue, read.taken, refusal.error, recordJobData(refusal.interactions));
    }
  }

  return async ({ works, encoded }) => {
    const refusals = createRefusals(works.flatMap((work) => work.waves));
    const stepCount = Math.max(...works.map((work) => work.waves.length));
    for (let i = 0; i < stepCount; i++) {
      const [appends, erasures] = stepsAt(works, i);
      await appendStep(appends, encoded, refusals);
      for (const { work, wave } of erasures) await erase(work, wave);
    }
  };
}

/** Returns the i-th waves of all partitions, by kind. */
function stepsAt(works: readonly PartitionWork[], i: number): [Step<AppendWave>[], Step<EraseWave>[]] {
  const appends: Step<AppendWave>[] = [];
  const erasures: Step<EraseWave>[] = [];
  for (const work of works) {
    const wave = work.waves[i];
    if (wave?.kind === 'append') appends.push({ work, wave });
    else if (wave) erasures.push({ work, wave });
  }
  return [appends, erasures];
}
