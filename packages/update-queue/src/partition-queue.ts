import { allDone, type Interaction } from '@collectivekv/domain';
import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { Worker } from 'bullmq';
import { createAsideShelf } from './aside-shelf.js';
import { type EventLogBounds, NO_EVENT_LOG, openEventLog } from './event-log.js';
import { ERASURE_NAMES } from './interaction-jobs.js';
import { type KeepWhenDone, readJobOptions } from './job-options.js';
import { createJobScripts, type StoredJob } from './job-scripts.js';
import { createJobSweep, type ErasedJobs, type FinishErasures } from './job-sweep.js';
import type { PartitionTerm } from './lease-table.js';
import { MAX_FAILED_JOBS, queueOptions } from './open-queues.js';
import { leaseKeys, partitionQueueName } from './queue-names.js';
import type { ErasureSubject } from './strip-job.js';
import { openWarmingFeed, type WarmingFeed } from './warming-feed.js';

/** A job taken from a partition and not yet settled. */
export interface TakenJob {
  readonly id: string;
  readonly name: string;
  /** The payload as its sender wrote it; anybody may have sent it. */
  readonly payload: unknown;
  /** Unix ms at which the job was queued. */
  readonly queuedAtMs: number;
  /** The number that {@link PartitionQueue.remember} kept last; 0 at first. */
  readonly progress: number;
}

/**
 * The consuming end of one partition, for one term of its lease. Redis checks the term inside every write. Every method
 * but `close` throws conflict if the term is over or the partition was opened again, and dependency_unavailable if
 * Redis cannot be reached.
 */
export interface PartitionQueue {
  readonly partition: number;
  /**
   * Begins this opening; call it first. Takes of a former opening are refused from now on, even in the same term. Puts
   * back, in order, the jobs that a former consumer took and did not settle.
   */
  recover(): Promise<void>;
  /**
   * Takes at most `maxCount` jobs, oldest first. Sets unreadable jobs aside on the way. An erasure is the last job of a
   * take, and nothing is taken until it is settled: so an erasure meets every job behind it in the queue.
   */
  take(maxCount: number): Promise<TakenJob[]>;
  /** Removes jobs from the queue for good. If some cannot be completed, the others are completed all the same. */
  complete(jobs: readonly TakenJob[]): Promise<void>;
  /**
   * Sets a job aside, to be seen, retried or dropped. It gets another id: the same events can be queued again.
   * @param left replaces the job's data with the work that remains
   */
  fail(job: TakenJob, message: string, left?: object): Promise<void>;
  /** Keeps a number with the job. It outlives this process. */
  remember(job: TakenJob, progress: number): Promise<void>;
  /**
   * Appends interactions to the partition's event log, if it has an age or an encoding is being warmed. Call it before their jobs are completed,
   * wave by wave: a wave that is repeated is then there twice, close together.
   * @param repeatedUsers users some of whose interactions here were applied before; default none
   */
  log(interactions: readonly Interaction[], repeatedUsers?: ReadonlySet<string>): Promise<void>;
  /** The encodings that are being warmed in this partition. */
  readonly warming: WarmingFeed;
  /** Drops what is beyond the bounds of the event log. Returns the number of its interactions. */
  trimLog(): Promise<number>;
  /** True while an erasure is taken and not settled. */
  isErasing(): boolean;
  /**
   * Takes a user of this partition, or one of the user's events, out of the event log and of every backfill. Takes them
   * also out of all jobs of all partitions that are not active. The other users' parts stay. `createJobSweep` says which
   * jobs stay as they are.
   */
  erase(subject: ErasureSubject, partitionCount: number, finishErasures: FinishErasures): Promise<ErasedJobs>;
  close(): Promise<void>;
}

// The lease's term keeps consumers apart; BullMQ's locks do not. A lock must outlast the work on its job.
const LOCK_MS = 3_600_000;

/** Opens a partition for consuming. */
export function openPartitionQueue(options: {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  /** The term of the lease under which the partition is consumed. */
  readonly term: PartitionTerm;
  /** Unique to this opening: Redis refuses takes of a former one, BullMQ refuses to settle jobs that another took. */
  readonly token: string;
  /** What the event log keeps; default nothing. */
  readonly eventLog?: EventLogBounds;
}): PartitionQueue {
  const { client, keyPrefix, term, token, eventLog: bounds = NO_EVENT_LOG } = options;
  const { connection, prefix } = queueOptions(client, keyPrefix);
  const worker = new Worker(partitionQueueName(term.partition), null, {
    connection,
    prefix,
    autorun: false,
    lockDuration: LOCK_MS,
    skipStalledCheck: true,
    skipLockRenewal: true,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: MAX_FAILED_JOBS },
  });
  worker.on('error', () => undefined); // the failed call rejects as well
  const taken = new Map<string, { readonly keep: KeepWhenDone; readonly isErasure: boolean }>();
  const scripts = createJobScripts(client, worker, { token, lockMs: LOCK_MS, term, leaseKeys: leaseKeys(keyPrefix) });
  const shelf = createAsideShelf(client, worker, scripts);
  const eventLog = openEventLog({ client, keyPrefix, term, token, bounds });
  const warming = openWarmingFeed({ client, keyPrefix, term, token });
  const sweep = createJobSweep({ client, keyPrefix, term, token });

  /** Reads a job and notes it as taken. Returns undefined if a field is not JSON, or the options are null. */
  function read({ id, fields }: StoredJob): TakenJob | undefined {
    try {
      const keep = readJobOptions(fields.opts ?? '').removeOnComplete; // throws for null
      const progress = JSON.parse(fields.progress || '0') as unknown;
      const job = {
        id,
        name: fields.name ?? '',
        payload: JSON.parse(fields.data || '{}') as unknown,
        queuedAtMs: Number(fields.timestamp),
        progress: Number.isSafeInteger(progress) ? Math.max(0, Number(progress)) : 0,
      };
      taken.set(id, { keep, isErasure: ERASURE_NAMES.includes(job.name) });
      return job;
    } catch {
      return undefined;
    }
  }

  async function completeAlike(jobs: readonly TakenJob[], keep: KeepWhenDone): Promise<ReadonlyMap<string, number>> {
    const failures = await scripts.complete(
      jobs.map(({ id }) => id),
      keep,
    );
    for (const { id } of jobs) if (!failures.has(id)) taken.delete(id);
    return failures;
  }

  const isErasing = () => [...taken.values()].some(({ isErasure }) => isErasure);

  function requireTaken({ id }: TakenJob): { readonly keep: KeepWhenDone } {
    const job = taken.get(id);
    if (!job) throw new Error(`job ${id} is not taken`);
    return job;
  }

  return {
    partition: term.partition,
    recover: () =>
      reachingRedis(async () => {
        await scripts.recover();
        taken.clear();
      }),
    take: (maxCount) =>
      reachingRedis(async () => {
        if (isErasing()) return [];
        const { jobs: stored, failure } = await scripts.take(maxCount);
        const jobs = stored.flatMap((job) => read(job) ?? []);
        if (jobs.length === stored.length && failure === '') return jobs;
        // If no job was at fault, the call fails, and recover() puts the taken jobs back later.
        if ((await shelf.putUnreadable((id) => taken.has(id))) === 0) throw new Error(failure);
        return jobs;
      }),
    complete: (jobs) =>
      reachingRedis(async () => {
        const alike = new Map<string, { keep: KeepWhenDone; jobs: TakenJob[] }>();
        for (const job of jobs) {
          const { keep } = requireTaken(job);
          const key = JSON.stringify(keep) ?? '';
          const group = alike.get(key);
          if (group) group.jobs.push(job);
          else alike.set(key, { keep, jobs: [job] });
        }
        const outcomes = await allDone([...alike.values()].map((group) => completeAlike(group.jobs, group.keep)));
        for (const [id, problem] of outcomes.flatMap((failures) => [...failures])) {
          throw new Error(`job ${id} cannot be completed: ${problem}`);
        }
      }),
    fail: (job, message, left) =>
      reachingRedis(async () => {
        requireTaken(job);
        await shelf.put(job.id, message, left);
        taken.delete(job.id);
      }),
    remember: (job, progress) =>
      reachingRedis(() => {
        requireTaken(job);
        return scripts.remember(job.id, progress);
      }),
    log: (interactions, repeatedUsers = new Set()) =>
      reachingRedis(async () => {
        if (bounds.ageMs > 0 || warming.pending().size > 0) {
          await eventLog.append(interactions, repeatedUsers);
        }
      }),
    warming,
    trimLog: () => reachingRedis(eventLog.trim),
    isErasing,
    erase: (subject, partitionCount, finishErasures) =>
      reachingRedis(async () => {
        await eventLog.scrub(subject, await warming.erase(subject));
        return sweep(subject, partitionCount, finishErasures);
      }),
    close: () => worker.close(true),
  };
}
