import { createHash } from 'node:crypto';
import { type CkvError, loggedField, toCkvError } from '@collectivekv/domain';
import type { Logger } from '@collectivekv/service-kit';
import {
  type Erasure,
  erasureOf,
  type PartitionQueue,
  parseInteractionJob,
  type Receipts,
  type TakenJob,
} from '@collectivekv/update-queue';
import type { UpdaterMetrics } from '../metrics.js';
import { isTransient } from './retry-while-held.js';

/**
 * Sets a job aside that cannot succeed. If it is an erasure, its receipt says so.
 * @param left replaces the job's data with the work that remains
 */
export type SetAside = (queue: PartitionQueue, taken: TakenJob, error: CkvError, left?: object) => Promise<void>;

/** Ids that the producer gives: a hash of the job's events, or the id of a receipt. */
const OWN_ID = /^((record|forget)-[0-9a-f]{24}|(forget|delete)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** Parts of {@link createSetAside}. */
export interface SetAsideParts {
  readonly receipts: Pick<Receipts, 'setAside'>;
  readonly metrics: Pick<UpdaterMetrics, 'jobs'>;
  readonly log: Pick<Logger, 'warn'>;
}

/** Creates the function that sets jobs aside, counts them and logs them. The log holds no text of the job's sender. */
export function createSetAside({ receipts, metrics, log }: SetAsideParts): SetAside {
  return async (queue, taken, error, left) => {
    const { reason, cause } = error;
    const facts = { jobId: loggedId(taken.id), partition: queue.partition, reason, field: loggedField(error.field) };
    log.warn({ ...facts, err: cause }, 'job set aside');
    const erasure = erasureIn(taken);
    if (erasure) await unlessForeign(receipts.setAside(erasure));
    await queue.fail(taken, `${reason}: ${error.message}`, left);
    metrics.jobs.inc({ outcome: 'failed' });
  };
}

/** Awaits a step of a receipt. Ignores a refusal: the receipt is of another erasure, so this one has none. */
export async function unlessForeign(step: Promise<unknown>): Promise<void> {
  await step.catch((thrown) => {
    if (isTransient(toCkvError(thrown))) throw thrown;
  });
}

/** Returns the erasure that a job asks for, if it can be read and has a receipt. */
function erasureIn({ name, payload }: TakenJob): Erasure | undefined {
  try {
    const job = parseInteractionJob(name, payload);
    return job.kind === 'record' ? undefined : erasureOf(job);
  } catch {
    return undefined;
  }
}

/** Returns an id of this system as it is. Other senders choose ids that may name users: returns a hash of those. */
function loggedId(id: string): string {
  return OWN_ID.test(id) ? id : `sha256:${createHash('sha256').update(id).digest('hex').slice(0, 12)}`;
}
