import type { CkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import type { PartitionQueue, TakenJob } from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';

/**
 * Sets a job aside that cannot succeed.
 * @param left replaces the job's data with the work that remains
 */
export type SetAside = (queue: PartitionQueue, taken: TakenJob, error: CkvError, left?: object) => Promise<void>;

/** Creates the function that sets jobs aside, counts them and logs them. */
export function createSetAside(metrics: Pick<UpdaterMetrics, 'jobs'>, log: Logger): SetAside {
  return async (queue, taken, error, left) => {
    const { reason, field, cause } = error;
    log.warn({ jobId: taken.id, partition: queue.partition, reason, field, err: cause }, 'job set aside');
    await queue.fail(taken, `${reason}: ${error.message}`, left);
    metrics.jobs.inc({ outcome: 'failed' });
  };
}
