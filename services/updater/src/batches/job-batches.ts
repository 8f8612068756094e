import { setTimeout as sleep } from 'node:timers/promises';
import {
  allDone,
  backoffMs,
  CkvError,
  type Interaction,
  partitionOf,
  type Reason,
  toCkvError,
} from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import {
  type InteractionProducer,
  type PartitionQueue,
  parseInteractionJob,
  recordJobData,
  type TakenJob,
} from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';
import type { PartitionLeases } from '../partitions/partition-leases.js';
import type { EncodedInteractions, RecordWriter } from '../records/record-writer.js';
import { planWaves, type ReadJob, type Wave } from './append-plan.js';
import { createRefusals, type Refusals } from './refusals.js';

/** Jobs taken from one partition, oldest first. */
export interface TakenJobs {
  readonly queue: PartitionQueue;
  readonly jobs: readonly TakenJob[];
  /** When, by the monotonic clock, ms: before they were taken, and with the partition held. */
  readonly takenMs: number;
}

/** Jobs that were read, and their interactions encoded as far as that needs no history. */
export interface PreparedBatch {
  readonly works: readonly PartitionWork[];
  readonly encoded: EncodedInteractions;
}

/**
 * Works jobs off in two steps, so that a batch can be taken and prepared while the one before it is applied. Both throw
 * what may pass where the batch cannot go on here: a partition went to another updater, the queue is away, the signal
 * aborted. What is not settled then is to be taken again.
 */
export interface JobBatches {
  /** Reads and encodes; sets aside what is no job, and forwards what belongs to another partition. */
  prepare(taken: readonly TakenJobs[]): Promise<PreparedBatch>;
  /**
   * Settles the batch's jobs: their interactions are in their records, or set aside. One batch at a time, in the order
   * in which they were taken.
   */
  apply(batch: PreparedBatch): Promise<void>;
}

/** What batches work with. */
export interface JobBatchParts {
  readonly leases: Pick<PartitionLeases, 'isHeldSince' | 'remainingMs'>;
  readonly producer: Pick<InteractionProducer, 'forward'>;
  readonly partitionCount: number;
  readonly writer: RecordWriter;
  readonly metrics: UpdaterMetrics;
  readonly log: Logger;
  /** Ends retries. */
  readonly signal: AbortSignal;
}

/** What is to be done for one partition, in order. */
export interface PartitionWork {
  readonly queue: PartitionQueue;
  readonly waves: Wave[];
  readonly takenMs: number;
}

const RETRY_PAUSE = { firstMs: 50, longestMs: 2_000 } as const;

/**
 * Creates the batches: the interactions of all partitions are encoded together and appended wave by wave; those whose
 * rows depend on the history are encoded with their wave, behind the rows of the waves before it. What may pass is
 * retried in place, so that a user's interactions stay in order; what cannot succeed is set aside with its job, without
 * the interactions of other users in it.
 */
export function createJobBatches({
  leases,
  producer,
  partitionCount,
  writer,
  metrics,
  log,
  signal,
}: JobBatchParts): JobBatches {
  async function prepare(taken: readonly TakenJobs[]): Promise<PreparedBatch> {
    const works: PartitionWork[] = [];
    for (const { queue, jobs, takenMs } of taken) {
      works.push({ queue, waves: planWaves(await readJobs(queue, jobs)), takenMs });
    }
    const waves = works.flatMap((work) => work.waves);
    const interactions = waves.flatMap((wave) => (wave.kind === 'append' ? [...wave.byUser.values()].flat() : []));
    metrics.batchInteractions.observe(interactions.length);
    const encoded = await untilDone(works, () => writer.encode(interactions));
    metrics.unknown.inc({ kind: 'item' }, encoded.unknownItemCount);
    metrics.unknown.inc({ kind: 'action' }, encoded.unknownActionCount);
    return { works, encoded };
  }

  async function apply({ works, encoded }: PreparedBatch): Promise<void> {
    const refusals = createRefusals(works.flatMap((work) => work.waves));
    const last = Math.max(...works.map((work) => work.waves.length));
    for (let step = 0; step < last; step++) {
      await appendStep(works, step, encoded, refusals);
      await forgetStep(works, step);
    }
  }

  /** Reads jobs; sets aside what is no job, and forwards what belongs to another partition. */
  async function readJobs(queue: PartitionQueue, jobs: readonly TakenJob[]): Promise<ReadJob[]> {
    const read: ReadJob[] = [];
    for (const taken of jobs) {
      try {
        const job = parseInteractionJob(taken.name, taken.payload);
        const interactions = job.kind === 'record' ? job.interactions : [job.interaction];
        if (interactions.every(({ userId }) => partitionOf(userId, partitionCount) === queue.partition)) {
          read.push({ taken, job });
          continue;
        }
        await producer.forward(job);
        await queue.complete([taken]);
        metrics.jobs.inc({ outcome: 'forwarded' });
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (mayPass(error)) throw error;
        await setAside(queue, taken, error);
      }
    }
    return read;
  }

  /** The step-th wave of every partition, in one append; users that are refused are left out of it from then on. */
  async function appendStep(
    works: readonly PartitionWork[],
    step: number,
    encoded: EncodedInteractions,
    refusals: Refusals,
  ): Promise<void> {
    const current = works.flatMap((work) => {
      const wave = work.waves[step];
      return wave?.kind === 'append' ? { work, wave } : [];
    });
    const queues = current.map(({ work }) => work);
    const byUser = new Map(current.flatMap(({ wave }) => refusals.without(wave)));
    try {
      await append(queues, byUser, encoded);
    } catch (thrown) {
      const cause = toCkvError(thrown);
      if (mayPass(cause)) throw cause;
      log.warn({ reason: cause.reason, problem: cause.message }, 'an append was refused; looking for whose it was');
      for (const [userId, interactions] of byUser) {
        try {
          await append(queues, new Map([[userId, interactions]]), encoded);
        } catch (refused) {
          const error = toCkvError(refused);
          if (mayPass(error)) throw error;
          refusals.add(interactions, error);
        }
      }
    }
    const settling = current.map(async ({ work, wave }) => {
      requireHeld([work]);
      if (wave.remember) await work.queue.remember(wave.remember.job.taken, wave.remember.progress);
      await settle(work, wave.done, refusals);
    });
    await allDone(settling);
  }

  async function append(
    works: readonly PartitionWork[],
    byUser: ReadonlyMap<string, readonly Interaction[]>,
    encoded: EncodedInteractions,
  ): Promise<void> {
    if (byUser.size === 0) return;
    // Should this process die with a call under way, it must not be applied after another has taken over.
    const heldUntilMs = () => {
      const heldMs = Math.min(...works.map(({ queue }) => leases.remainingMs(queue.partition)));
      return Date.now() + Math.floor(heldMs);
    };
    const counts = await untilDone(works, () => writer.append(byUser, encoded, heldUntilMs));
    metrics.interactions.inc({ outcome: 'appended' }, counts.appliedCount);
    metrics.interactions.inc({ outcome: 'duplicate' }, counts.duplicateCount);
  }

  async function forgetStep(works: readonly PartitionWork[], step: number): Promise<void> {
    for (const work of works) {
      const wave = work.waves[step];
      if (wave?.kind !== 'forget') continue;
      try {
        const found = await untilDone([work], () => writer.forget(wave.interaction));
        metrics.interactions.inc({ outcome: 'forgotten' }, found ? 1 : 0);
        await work.queue.complete([wave.job.taken]);
        metrics.jobs.inc({ outcome: 'done' });
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (mayPass(error)) throw error;
        await setAside(work.queue, wave.job.taken, error);
      }
    }
  }

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

  async function setAside(queue: PartitionQueue, taken: TakenJob, error: CkvError, left?: object): Promise<void> {
    const { reason, field, cause } = error;
    log.warn({ jobId: taken.id, partition: queue.partition, reason, field, err: cause }, 'job set aside');
    await queue.fail(taken, `${reason}: ${error.message}`, left);
    metrics.jobs.inc({ outcome: 'failed' });
  }

  /** A partition that went is another's, or was: appending its interactions here could reorder them. */
  function requireHeld(works: readonly PartitionWork[]): void {
    if (works.every(({ queue, takenMs }) => leases.isHeldSince(queue.partition, takenMs))) return;
    throw new CkvError('conflict', 'a partition went to another updater');
  }

  /**
   * Repeats what may pass, with growing pauses, as long as the partitions are held.
   * @throws what cannot pass; conflict where a partition went to another updater
   */
  async function untilDone<T>(works: readonly PartitionWork[], perform: () => Promise<T>): Promise<T> {
    for (let failures = 0; ; failures++) {
      requireHeld(works);
      try {
        return await perform();
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (!mayPass(error)) throw error;
        metrics.retries.inc({ reason: error.reason });
        log.warn({ reason: error.reason, problem: error.message, failures }, 'retrying a batch');
        if (signal.aborted) throw error;
        await sleep(backoffMs(failures + 1, RETRY_PAUSE), undefined, { signal }).catch(() => undefined);
      }
    }
  }

  return { prepare, apply };
}

/** Failures that say nothing about a job: the same append may succeed later. */
const PASSING: ReadonlySet<Reason> = new Set<Reason>([
  'dependency_unavailable',
  'draining',
  'overloaded',
  'conflict',
  'deadline',
  'cancelled',
  'bundle_not_loaded',
]);

function mayPass({ reason }: CkvError): boolean {
  return PASSING.has(reason);
}
