import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { ErrorCode, type Queue } from 'bullmq';
import { openQueues } from './open-queues.js';

/** Jobs of one partition by state. */
export interface PartitionCounts {
  readonly partition: number;
  readonly waiting: number;
  readonly active: number;
  readonly failed: number;
}

/** A job that was set aside. */
export interface FailedJob {
  readonly partition: number;
  readonly id: string;
  readonly name: string;
  /** Why the job was set aside. */
  readonly problem: string;
  /** Unix ms. */
  readonly failedAtMs: number;
  /** The payload as its sender wrote it. */
  readonly payload: unknown;
}

/** Shows the interaction queue, and settles the jobs that were set aside. Needs no lease. */
export interface QueueInspection {
  /** Returns the counts of every partition. */
  counts(): Promise<PartitionCounts[]>;
  /** Returns jobs that were set aside, newest first, at most `maxCount`. */
  failed(maxCount: number): Promise<FailedJob[]>;
  /** Puts failed jobs back into their queues: the named jobs, or all. Returns their number. */
  retry(ids?: readonly string[]): Promise<number>;
  /** Deletes failed jobs for good: the named ones, or all. Returns their number. */
  drop(ids?: readonly string[]): Promise<number>;
  close(): Promise<void>;
}

/** Options of {@link inspectQueue}. */
export interface InspectionOptions {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  readonly partitionCount: number;
}

/** Failed jobs of one read. */
const PAGE = 1_000;

type Job = Awaited<ReturnType<Queue['getFailed']>>[number];

/** Opens the queue for inspection. Failures are dependency_unavailable. */
export function inspectQueue({ client, keyPrefix, partitionCount }: InspectionOptions): QueueInspection {
  const queues = openQueues(client, keyPrefix, partitionCount, { inspectOnly: true });

  /**
   * Settles every named failed job, or all.
   * @param settle returns false if the job was settled by somebody else
   * @returns the number of jobs that were settled here
   */
  async function settleFailed(
    ids: readonly string[] | undefined,
    settle: (job: Job) => Promise<boolean>,
  ): Promise<number> {
    const wanted = ids && new Set(ids);
    let count = 0;
    for (const queue of queues) {
      // Read all pages before settling a job: each settled job moves the others.
      const jobs = [];
      for (let from = 0; ; from += PAGE) {
        const page = await queue.getFailed(from, from + PAGE - 1);
        jobs.push(...page);
        if (page.length === 0) break; // a shorter page may lack a job that has gone meanwhile
      }
      for (const job of jobs.reverse()) {
        if (wanted && !wanted.has(String(job.id))) continue;
        if (await settle(job)) count++;
      }
    }
    return count;
  }

  return {
    counts: () =>
      reachingRedis(() =>
        Promise.all(
          queues.map(async (queue, partition) => {
            const counts = await queue.getJobCounts('waiting', 'active', 'failed', 'delayed', 'prioritized');
            const { waiting = 0, delayed = 0, prioritized = 0, active = 0, failed = 0 } = counts;
            return { partition, waiting: waiting + delayed + prioritized, active, failed };
          }),
        ),
      ),
    failed: (maxCount) =>
      reachingRedis(async () => {
        const pages = await Promise.all(queues.map((queue) => queue.getFailed(0, maxCount - 1)));
        return pages
          .flatMap((jobs, partition) =>
            jobs.map((job) => ({
              partition,
              id: String(job.id),
              name: job.name,
              problem: job.failedReason,
              failedAtMs: job.finishedOn ?? 0,
              payload: job.data as unknown,
            })),
          )
          .sort((a, b) => b.failedAtMs - a.failedAtMs)
          .slice(0, maxCount);
      }),
    retry: (ids) => reachingRedis(() => settleFailed(ids, putBack)),
    drop: (ids) => reachingRedis(() => settleFailed(ids, remove)),
    async close() {
      await Promise.all(queues.map((queue) => queue.close()));
    },
  };
}

/** Puts a failed job back into its queue. Returns false if it is gone, or has been put back meanwhile. */
async function putBack(job: Job): Promise<boolean> {
  try {
    await job.retry('failed');
    return true;
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === ErrorCode.JobNotExist || code === ErrorCode.JobNotInState) return false;
    throw error;
  }
}

async function remove(job: Job): Promise<boolean> {
  await job.remove();
  return true;
}
