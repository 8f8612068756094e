import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { type ConnectionOptions, Job, Queue, type QueueOptions, Worker } from 'bullmq';
import { createAsideShelf } from './aside-shelf.js';
import { createJobScripts, type KeepWhenDone, type StoredJob } from './job-scripts.js';

/** Partitions where nothing else is configured. */
export const DEFAULT_PARTITION_COUNT = 16;
/** Failed jobs kept in each partition; beyond, the oldest goes. */
export const MAX_FAILED_JOBS = 10_000;

/** The queue of a partition. */
export function partitionQueueName(partition: number): string {
  return `interactions-${partition}`;
}

/** BullMQ's prefix: in braces, so that a cluster keeps all partitions in one slot, as BullMQ's scripts need. */
export function queuePrefix(keyPrefix: string): string {
  return `{${keyPrefix}}`;
}

/** How every queue of ours is set up. */
function queueOptions(client: RedisClient, keyPrefix: string): QueueOptions {
  return {
    connection: client as unknown as ConnectionOptions,
    prefix: queuePrefix(keyPrefix),
    streams: { events: { maxLen: 100 } },
    defaultJobOptions: {
      attempts: 1, // what passes is retried in place, so that order holds; what does not pass is set aside at once
      removeOnComplete: true,
      removeOnFail: { count: MAX_FAILED_JOBS },
    },
  };
}

/** A job taken from a partition and not yet settled. */
export interface TakenJob {
  readonly id: string;
  readonly name: string;
  /** As it was sent; anybody may have written it. */
  readonly payload: unknown;
  /** Unix ms at which it was queued. */
  readonly queuedAtMs: number;
  /** What {@link PartitionQueue.remember} kept last; 0 at first. */
  readonly progress: number;
}

/**
 * The consuming end of one partition. Only one process may consume a partition at a time. A job that another consumer
 * took over and a Redis that is away are dependency_unavailable.
 */
export interface PartitionQueue {
  readonly partition: number;
  /** Puts back, in order, what a former consumer took and did not settle. */
  recover(): Promise<void>;
  /** Takes at most so many jobs, oldest first. What cannot even be read is set aside on the way. */
  take(maxCount: number): Promise<TakenJob[]>;
  /** Takes jobs off the queue for good. Where some cannot be, the others are all the same. */
  complete(jobs: readonly TakenJob[]): Promise<void>;
  /**
   * Sets a job aside, where it can be seen, retried and dropped; `left` replaces its data with what is still to do. It
   * gets another id, so that the same events can be queued again meanwhile.
   */
  fail(job: TakenJob, message: string, left?: object): Promise<void>;
  /** Keeps a number with the job that outlives this process. */
  remember(job: TakenJob, progress: number): Promise<void>;
  close(): Promise<void>;
}

// Locks are not what keeps consumers apart: the partition's lease is. They only have to outlast it.
const LOCK_MS = 3_600_000;

/** Opens a partition for consuming. */
export function openPartitionQueue(options: {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  readonly partition: number;
  /** Unique to this process and lease: settles of an older one are refused by BullMQ. */
  readonly token: string;
}): PartitionQueue {
  const { client, keyPrefix, partition, token } = options;
  const name = partitionQueueName(partition);
  const { connection, prefix } = queueOptions(client, keyPrefix);
  const worker = new Worker(name, null, {
    connection,
    prefix: prefix ?? '',
    autorun: false,
    lockDuration: LOCK_MS,
    skipStalledCheck: true,
    skipLockRenewal: true,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: MAX_FAILED_JOBS },
  });
  worker.on('error', () => undefined); // every failure also rejects the call it belongs to
  const taken = new Map<string, { readonly keep: KeepWhenDone }>();
  const scripts = createJobScripts(client, worker, { token, lockMs: LOCK_MS });

  /** Reads a job and notes it as taken; undefined where it is no JSON. */
  function read({ id, fields }: StoredJob): TakenJob | undefined {
    try {
      const opts = JSON.parse(fields.opts || '{}') as { removeOnComplete?: KeepWhenDone } | null;
      const progress = JSON.parse(fields.progress || '0') as unknown;
      const job = {
        id,
        name: fields.name ?? '',
        payload: JSON.parse(fields.data || '{}') as unknown,
        queuedAtMs: Number(fields.timestamp),
        progress: Number.isSafeInteger(progress) ? Math.max(0, Number(progress)) : 0,
      };
      taken.set(id, { keep: opts?.removeOnComplete });
      return job;
    } catch {
      return undefined;
    }
  }

  async function completeAlike(jobs: readonly TakenJob[], keep: KeepWhenDone): Promise<ReadonlyMap<string, string>> {
    const failures = await scripts.complete(
      jobs.map(({ id }) => id),
      keep,
    );
    for (const { id } of jobs) if (!failures.has(id)) taken.delete(id);
    return failures;
  }

  function requireTaken({ id }: TakenJob): { readonly keep: KeepWhenDone } {
    const job = taken.get(id);
    if (!job) throw new Error(`job ${id} is not taken`);
    return job;
  }

  const shelf = createAsideShelf(client, worker, token);
  const activeKey = worker.toKey('active');

  return {
    partition,
    recover: () =>
      reachingRedis(async () => {
        // Newest first, each to the front: the oldest is taken next. Jobs are not read here: one may be unreadable.
        const back = client.multi();
        for (const id of await client.lrange(activeKey, 0, -1)) {
          back
            .lrem(activeKey, 1, id)
            .rpush(worker.toKey('wait'), id)
            .del(`${worker.toKey(id)}:lock`);
        }
        await back.exec();
      }),
    take: (maxCount) =>
      reachingRedis(async () => {
        const { jobs: stored, failure } = await scripts.take(maxCount);
        const jobs = stored.flatMap((job) => read(job) ?? []);
        if (jobs.length === stored.length && failure === '') return jobs;
        // Where it was no job's fault, what was taken is put back by recover().
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
        const outcomes = await Promise.all([...alike.values()].map((group) => completeAlike(group.jobs, group.keep)));
        for (const [id, problem] of outcomes.flatMap((failures) => [...failures])) {
          throw new Error(`job ${id} cannot be completed: ${problem}`);
        }
      }),
    fail: (job, message, left) =>
      reachingRedis(async () => {
        requireTaken(job);
        const bullJob = await Job.fromId(worker, job.id);
        if (!bullJob) throw new Error(`job ${job.id} is gone`);
        if (left) {
          await bullJob.updateData(left);
          await bullJob.updateProgress(0);
        }
        await shelf.put(bullJob, message);
        taken.delete(job.id);
      }),
    remember: (job, progress) =>
      reachingRedis(() => {
        requireTaken(job);
        return worker.backend.updateProgress(job.id, progress);
      }),
    close: () => worker.close(true),
  };
}

/** The producing and inspecting end of every partition; an inspector writes nothing by opening them. */
export function openQueues(
  client: RedisClient,
  keyPrefix: string,
  partitionCount: number,
  { inspectOnly = false } = {},
): Queue[] {
  return Array.from({ length: partitionCount }, (_, partition) => {
    const options = { ...queueOptions(client, keyPrefix), skipMetasUpdate: inspectOnly };
    const queue = new Queue(partitionQueueName(partition), options);
    queue.on('error', () => undefined); // every failure also rejects the call it belongs to
    return queue;
  });
}

/** Jobs that wait in each of the partitions: one cheap read, of the waiting lists alone. */
export async function waitingCounts(
  client: RedisClient,
  keyPrefix: string,
  partitions: readonly number[],
): Promise<number[]> {
  const keys = partitions.map((partition) => `${queuePrefix(keyPrefix)}:${partitionQueueName(partition)}:wait`);
  return reachingRedis(() => Promise.all(keys.map((key) => client.llen(key))));
}
