import { createHash } from 'node:crypto';
import { type CkvError, loggedField } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import type { PartitionQueue, TakenJob } from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';

/**
 * Sets a job aside that cannot succeed.
 * @param left replaces the job's data with the work that remains
 */
export type SetAside = (queue: PartitionQueue, taken: TakenJob, error: CkvError, left?: object) => Promise<void>;

/** Ids that the producer gives: a hash of the job's events, or the id of a receipt. */
const OWN_ID = /^((record|forget)-[0-9a-f]{24}|(forget|delete)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** Creates the function that sets jobs aside, counts them and logs them. The log holds no text of the job's sender. */
export function createSetAside(metrics: Pick<UpdaterMetrics, 'jobs'>, log: Pick<Logger, 'warn'>): SetAside {
  return async (queue, taken, error, left) => {
    const { reason, cause } = error;
    const facts = { jobId: loggedId(taken.id), partition: queue.partition, reason, field: loggedField(error.field) };
    log.warn({ ...facts, err: cause }, 'job set aside');
    await queue.fail(taken, `${reason}: ${error.message}`, left);
    metrics.jobs.inc({ outcome: 'failed' });
  };
}

/** Returns an id of this system as it is. Other senders choose their ids, which may name users: returns a hash of those. */
function loggedId(id: string): string {
  return OWN_ID.test(id) ? id : `sha256:${createHash('sha256').update(id).digest('hex').slice(0, 12)}`;
}
