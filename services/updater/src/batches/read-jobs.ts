import { partitionOf, toCkvError } from '@collectivekv/domain';
import {
  type InteractionProducer,
  type PartitionQueue,
  parseInteractionJob,
  type TakenJob,
  traceparentOf,
  usersOf,
} from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';
import type { ReadJob } from './append-plan.js';
import { isTransient } from './retry-while-held.js';
import type { SetAside } from './set-aside.js';

/**
 * Reads a partition's jobs, in order. Sets unreadable jobs aside and forwards jobs of other partitions; neither is
 * returned.
 * @throws transient errors: Redis is unreachable, the term is over
 */
export type ReadJobs = (queue: PartitionQueue, jobs: readonly TakenJob[]) => Promise<ReadJob[]>;

/** Creates the reader of jobs. */
export function createReadJobs(parts: {
  readonly producer: Pick<InteractionProducer, 'forward'>;
  readonly partitionCount: number;
  readonly setAside: SetAside;
  readonly metrics: Pick<UpdaterMetrics, 'jobs'>;
}): ReadJobs {
  const { producer, partitionCount, setAside, metrics } = parts;

  /** Returns the job if it belongs to the queue's partition, else forwards it. */
  async function readOrForward(queue: PartitionQueue, taken: TakenJob): Promise<ReadJob | undefined> {
    const job = parseInteractionJob(taken.name, taken.payload);
    if (usersOf(job).every((userId) => partitionOf(userId, partitionCount) === queue.partition)) {
      return { taken, job };
    }
    // Before it is completed: a failure in between repeats the job, and loses nothing. The queue skips the repetition.
    const origin = `${queue.partition} ${taken.id} ${taken.queuedAtMs}`;
    await producer.forward(job, origin, traceparentOf(taken.payload));
    await queue.complete([taken]);
    metrics.jobs.inc({ outcome: 'forwarded' });
    return undefined;
  }

  return async (queue, jobs) => {
    const read: ReadJob[] = [];
    for (const taken of jobs) {
      try {
        const job = await readOrForward(queue, taken);
        if (job) read.push(job);
      } catch (thrown) {
        const error = toCkvError(thrown);
        if (isTransient(error)) throw error;
        await setAside(queue, taken, error);
      }
    }
    return read;
  };
}
