import { createHash } from 'node:crypto';
import {
  type Interaction,
  invalidRequest,
  LIMITS,
  parseForgotten,
  parseId,
  parseInteraction,
  parseReceiptId,
} from '@collectivekv/domain';
import type { Erasure, ErasureSubject } from './strip-job.js';

/** Version of the job schema that this build writes and reads. */
export const JOB_VERSION = 1;
/** Most interactions of one job. */
export const MAX_JOB_INTERACTIONS = 500;

/** Names of the jobs that erase a user or an interaction. */
export const ERASURE_NAMES: readonly string[] = ['forget', 'delete'];

/** A checked job of the interaction queue. */
export type InteractionJob =
  | { readonly kind: 'record'; readonly interactions: readonly Interaction[] }
  | { readonly kind: 'forget'; readonly interaction: Interaction; readonly receiptId?: string | undefined }
  | { readonly kind: 'delete'; readonly userId: string; readonly receiptId: string };

/** A job that erases a user or an interaction. */
export type ErasureJob = Exclude<InteractionJob, { readonly kind: 'record' }>;

/**
 * Returns the data of a `record` job:
 *
 *     { "version": 1, "interactions": [{ "eventId", "userId", "itemId", "timestampMs", "action"?, "features"? }],
 *       "traceparent"? }
 * @param traceparent the span that queues the job; empty if it is not recorded
 */
export function recordJobData(interactions: readonly Interaction[], traceparent = ''): object {
  return { version: JOB_VERSION, interactions, ...(traceparent === '' ? {} : { traceparent }) };
}

/** Returns the span that queued a job, as a traceparent. Empty if the job has none. */
export function traceparentOf(jobData: unknown): string {
  const { traceparent } = Object(jobData) as { traceparent?: unknown };
  return typeof traceparent === 'string' ? traceparent : '';
}

/** Returns the data of a `forget` job: `{ "version": 1, "interaction": {…}, "receiptId"? }`. */
export function forgetJobData(interaction: Interaction, receiptId?: string): object {
  return { version: JOB_VERSION, interaction, ...(receiptId === undefined ? {} : { receiptId }) };
}

/** Returns the data of a `delete` job: `{ "version": 1, "userId", "receiptId" }`. */
export function deleteJobData(userId: string, receiptId: string): object {
  return { version: JOB_VERSION, userId, receiptId };
}

/** Returns the users of a job's interactions, or the user to delete. */
export function usersOf(job: InteractionJob): string[] {
  if (job.kind === 'record') return job.interactions.map(({ userId }) => userId);
  return [job.kind === 'forget' ? job.interaction.userId : job.userId];
}

/** Returns what an erasure's job erases. */
export function subjectOf(job: ErasureJob): ErasureSubject {
  if (job.kind === 'delete') return { userId: job.userId };
  const { userId, eventId } = job.interaction;
  return { userId, eventId };
}

/** Returns the erasure of a job; undefined if it has no receipt. */
export function erasureOf(job: ErasureJob): Erasure | undefined {
  return job.receiptId === undefined ? undefined : { ...subjectOf(job), receiptId: job.receiptId };
}

/** Returns a job id from the job's events, so that the same interactions are queued once while their job waits. */
export function jobIdOf(kind: 'record' | 'forget', interactions: readonly Interaction[]): string {
  const hash = createHash('sha256');
  for (const { userId, eventId } of interactions) hash.update(`${userId.length}:${userId}${eventId.length}:${eventId}`);
  return `${kind}-${hash.digest('hex').slice(0, 24)}`;
}

/**
 * Reads a job. Anybody may have written it.
 * @throws invalid_request naming the field
 */
export function parseInteractionJob(name: string, jobData: unknown): InteractionJob {
  if (typeof jobData !== 'object' || jobData === null)
    throw invalidRequest('data', 'is not an object', 'send an object');
  const { version, interactions, interaction, userId, receiptId } = jobData as Record<string, unknown>;
  if (version !== JOB_VERSION) {
    throw invalidRequest('data.version', `is ${JSON.stringify(version)}`, `send ${JOB_VERSION}`);
  }
  if (name === 'forget') {
    return {
      kind: 'forget',
      interaction: parseForgotten(interaction, 'data.interaction'),
      receiptId: receiptId === undefined ? undefined : parseReceiptId(receiptId, 'data.receiptId'),
    };
  }
  if (name === 'delete') {
    return {
      kind: 'delete',
      userId: parseId(userId, 'data.userId', LIMITS.idBytes),
      receiptId: parseReceiptId(receiptId, 'data.receiptId'),
    };
  }
  if (name !== 'record') throw invalidRequest('name', `is "${name}"`, 'use "record", "forget" or "delete"');
  if (!Array.isArray(interactions) || interactions.length < 1 || interactions.length > MAX_JOB_INTERACTIONS) {
    const count = Array.isArray(interactions) ? `${interactions.length} entries` : 'not a list';
    throw invalidRequest('data.interactions', `has ${count}, 1 to ${MAX_JOB_INTERACTIONS} are required`, 'split it');
  }
  return {
    kind: 'record',
    interactions: interactions.map((raw, i) => parseInteraction(raw, `data.interactions[${i}]`)),
  };
}
