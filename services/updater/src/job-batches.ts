import { setTimeout as sleep } from 'node:timers/promises';
import { CkvError, partitionOf, type Reason, toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import {
  type InteractionProducer,
  type PartitionQueue,
  parseInteractionJob,
  type TakenJob,
} from '@collectivekv/update-queue';
import { byUserOf, planWaves, type ReadJob, type Wave } from './append-plan.js';
import type { UpdaterMetrics } from './metrics.js';
import type { PartitionLeases } from './partition-leases.js';
import type { EncodedInteractions, RecordWriter } from './record-writer.js';

/** Jobs taken from one partition, oldest first. */
export interface TakenJobs {
  readonly queue: PartitionQueue;
  readonly jobs: readonly TakenJob[];
}

/** Works jobs off. */
export interface JobBatches {
  /**
   * Settles every job: its interactions are in their records, or it was set aside, or forwarded.
   * @throws what may pass, where the batch cannot go on here: a partition went to another updater, the queue is away,
   * the signal aborted. What is not settled then is to be taken again.
   */
  process(taken: readonly TakenJobs[]): Promise<void>;
}

/** What batches work with. */
export interface JobBatchParts {
  readonly leases: Pick<PartitionLeases, 'isHeld'>;
  readonly producer: Pick<InteractionProducer, 'record' | 'forget'>;
  readonly partitionCount: number;
  readonly writer: RecordWriter;
  readonly metrics: UpdaterMetrics;
  readonly log: Logger;
  /** Ends retries. */
  readonly signal: AbortSignal;
}

interface PartitionWork {
  readonly queue: PartitionQueue;
  readonly waves: Wave[];
}

const RETRY_MS = [50, 2_000] as const;

/**
 * Creates the batches: the interactions of all partitions are encoded together and appended wave by wave. What may pass
 * is retried in place, so that a user's interactions stay in order; a job that cannot succeed is set aside.
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
  const failed = new WeakSet<TakenJob>();

  async function process(taken: readonly TakenJobs[]): Promise<void> {
    const works: PartitionWork[] = [];
    for (const { queue, jobs } of taken) works.push({ queue, waves: planWaves(await readJobs(queue, jobs)) });
    const interactions = works.flatMap(({ waves }) =>
      waves.flatMap((wave) => (wave.kind === 'append' ? [...wave.byUser.values()].flat() : [])),
    );
    metrics.batchInteractions.observe(interactions.length);
    const encoded = await untilDone(works, () => writer.encode(interactions));
    metrics.unknown.inc({ kind: 'item' }, encoded.unknownItemCount);
    metrics.unknown.inc({ kind: 'action' }, encoded.unknownActionCount);
    const last = Math.max(...works.map(({ waves }) => waves.length));
    for (let step = 0; step < last; step++) await performStep(works, step, encoded);
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
        await (job.kind === 'record' ? producer.record(job.interactions) : producer.forget(job.interaction));
        await queue.complete(taken);
        metrics.jobs.inc({ outcome: 'forwarded' });
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (mayPass(error)) throw error;
        await setAside(queue, taken, error);
      }
    }
    return read;
  }

  /** The step-th wave of every partition, in one append. */
  async function performStep(
    works: readonly PartitionWork[],
    step: number,
    encoded: EncodedInteractions,
  ): Promise<void> {
    const current = works.filter(({ waves }) => waves[step] !== undefined);
    const appending = current.filter(({ waves }) => waves[step]?.kind === 'append');
    await appendTogether(appending, step, encoded);
    for (const work of current) {
      const wave = work.waves[step];
      if (wave?.kind !== 'forget') continue;
      const found = await isolating(work, [wave.job], () => writer.forget(wave.interaction));
      if (found === undefined) continue;
      metrics.interactions.inc({ outcome: 'forgotten' }, found ? 1 : 0);
      await settle(work, [wave.job]);
    }
  }

  async function appendTogether(
    works: readonly PartitionWork[],
    step: number,
    encoded: EncodedInteractions,
  ): Promise<void> {
    const byUser = new Map(
      works.flatMap(({ waves }) => {
        const wave = waves[step];
        return wave?.kind === 'append' ? [...wave.byUser] : [];
      }),
    );
    try {
      const counts = byUser.size === 0 ? undefined : await untilDone(works, () => writer.append(byUser, encoded));
      metrics.interactions.inc({ outcome: 'appended' }, counts?.appliedCount ?? 0);
      metrics.interactions.inc({ outcome: 'duplicate' }, counts?.duplicateCount ?? 0);
    } catch (thrown) {
      const error = toCkvError(thrown);
      if (mayPass(error)) throw error;
      return appendApart(works, step, encoded, error);
    }
    for (const work of works) await finishWave(work, step);
  }

  /** One of the jobs cannot succeed: they are appended one by one, and the one at fault is set aside. */
  async function appendApart(
    works: readonly PartitionWork[],
    step: number,
    encoded: EncodedInteractions,
    cause: CkvError,
  ): Promise<void> {
    log.warn({ problem: cause.message }, 'an append was refused; looking for the job at fault');
    for (const work of works) {
      const wave = work.waves[step];
      if (wave?.kind !== 'append') continue;
      for (const read of wave.jobs) {
        const own = wave.jobs.length === 1 ? wave.byUser : byUserOf([read]);
        await isolating(work, [read], () => writer.append(own, encoded));
      }
      await finishWave(work, step);
    }
  }

  async function finishWave(work: PartitionWork, step: number): Promise<void> {
    const wave = work.waves[step];
    if (wave?.kind !== 'append' || !leases.isHeld(work.queue.partition)) return;
    if (wave.remember) await work.queue.remember(wave.remember.job.taken, wave.remember.progress);
    await settle(work, wave.done);
  }

  async function settle({ queue }: PartitionWork, jobs: readonly ReadJob[]): Promise<void> {
    const left = jobs.filter(({ taken }) => !failed.has(taken));
    await Promise.all(left.map(({ taken }) => queue.complete(taken)));
    metrics.jobs.inc({ outcome: 'done' }, left.length);
    const nowMs = Date.now();
    for (const { taken } of left) metrics.servableSeconds.observe(Math.max(0, nowMs - taken.queuedAtMs) / 1000);
  }

  async function setAside(queue: PartitionQueue, taken: TakenJob, error: CkvError): Promise<void> {
    failed.add(taken);
    metrics.jobs.inc({ outcome: 'failed' });
    const { reason, field, cause } = error;
    log.warn({ jobId: taken.id, partition: queue.partition, reason, field, err: cause }, 'job set aside');
    await queue.fail(taken, `${error.reason}: ${error.message}`);
  }

  /** Runs what concerns one job; undefined where the job was set aside for it, or before. */
  async function isolating<T>(
    work: PartitionWork,
    jobs: readonly ReadJob[],
    perform: () => Promise<T>,
  ): Promise<T | undefined> {
    if (jobs.every(({ taken }) => failed.has(taken))) return undefined;
    try {
      return await untilDone([work], perform);
    } catch (thrown) {
      const error = toCkvError(thrown);
      if (mayPass(error)) throw error;
      for (const { taken } of jobs) await setAside(work.queue, taken, error);
      return undefined;
    }
  }

  /**
   * Repeats what may pass, with growing pauses, as long as the partitions are held.
   * @throws what cannot pass; conflict where a partition went to another updater
   */
  async function untilDone<T>(works: readonly PartitionWork[], perform: () => Promise<T>): Promise<T> {
    for (let failures = 0; ; failures++) {
      // A partition that went is another's: appending its interactions here could reorder them.
      if (works.some(({ queue }) => !leases.isHeld(queue.partition))) {
        throw new CkvError('conflict', 'a partition went to another updater');
      }
      try {
        return await perform();
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (!mayPass(error)) throw error;
        metrics.retries.inc({ reason: error.reason });
        log.warn({ reason: error.reason, problem: error.message, failures }, 'retrying a batch');
        if (signal.aborted) throw error;
        await sleep(backoffMs(failures), undefined, { signal }).catch(() => undefined);
      }
    }
  }

  return { process };
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

/** Growing pauses between tries, with jitter. */
export function backoffMs(failures: number): number {
  const [first, longest] = RETRY_MS;
  return Math.min(first * 2 ** Math.min(failures, 16), longest) * (0.5 + Math.random() / 2);
}
