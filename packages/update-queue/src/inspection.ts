import { type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import type { Queue } from 'bullmq';
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

/** Opens the queue for inspection. Failures are dependency_unavailable. */
export function inspectQueue({ client, keyPrefix, partitionCount }: InspectionOptions): QueueInspection {
  const queues = openQueues(client, keyPrefix, partitionCount, { inspectOnly: true });

  /** Calls `settle` with every named failed job, or with all. Returns the number of calls. */
  async function settleFailed(
    ids: readonly string[] | undefined,
    settle: (job: Awaited<ReturnType<Queue['getFailed']>>[number]) => Promise<unknown>,
  ): Promise<number> {
    const wanted = ids && new Set(ids);
    let count = 0;
    for (const queue of queues) {
      // Read all pages before settling a job: each settled job moves the others.
      const jobs = [];
      for (let from = 0; ; from += PAGE) {
        const page = await queue.getFailed(from, from + PAGE - 1);
        jobs.push(...page);
        if (page.length < PAGE) break;
      }
      for (const job of jobs.reverse()) {
        if (wanted && !wanted.has(String(job.id))) continue;
        await settle(job);
        count++;
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
    retry: (ids) => reachingRedis(() => settleFailed(ids, (job) => job.retry('failed'))),
    drop: (ids) => reachingRedis(() => settleFailed(ids, (job) => job.remove())),
    async close() {
      await Promise.all(queues.map((queue) => queue.close()));
    },
  };
}
