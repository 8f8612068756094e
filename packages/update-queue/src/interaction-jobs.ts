import { createHash } from 'node:crypto';
import { type Interaction, invalidRequest, parseForgotten, parseInteraction } from '@collectivekv/domain';

/** Version of the job schema that this build writes and reads. */
export const JOB_VERSION = 1;
/** Most interactions of one job. */
export const MAX_JOB_INTERACTIONS = 500;

/** A checked job of the interaction queue. */
export type InteractionJob =
  | { readonly kind: 'record'; readonly interactions: readonly Interaction[] }
  | { readonly kind: 'forget'; readonly interaction: Interaction };

/**
 * Returns the data of a `record` job:
 *
 *     { "version": 1, "interactions": [{ "eventId", "userId", "itemId", "timestampMs", "action"?, "features"? }] }
 */
export function recordJobData(interactions: readonly Interaction[]): object {
  return { version: JOB_VERSION, interactions };
}

/** Returns the data of a `forget` job: `{ "version": 1, "interaction": {…} }`. */
export function forgetJobData(interaction: Interaction): object {
  return { version: JOB_VERSION, interaction };
}

/** Returns a job id from the job's events, so that the same interactions are queued once while their job waits. */
export function jobIdOf(kind: InteractionJob['kind'], interactions: readonly Interaction[]): string {
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
  const { version, interactions, interaction } = jobData as Record<string, unknown>;
  if (version !== JOB_VERSION) {
    throw invalidRequest('data.version', `is ${JSON.stringify(version)}`, `send ${JOB_VERSION}`);
  }
  if (name === 'forget') return { kind: 'forget', interaction: parseForgotten(interaction, 'data.interaction') };
  if (name !== 'record') throw invalidRequest('name', `is "${name}"`, 'use "record" or "forget"');
  if (!Array.isArray(interactions) || interactions.length < 1 || interactions.length > MAX_JOB_INTERACTIONS) {
    const count = Array.isArray(interactions) ? `${interactions.length} entries` : 'not a list';
    throw invalidRequest('data.interactions', `has ${count}, 1 to ${MAX_JOB_INTERACTIONS} are required`, 'split it');
  }
  return {
    kind: 'record',
    interactions: interactions.map((raw, i) => parseInteraction(raw, `data.interactions[${i}]`)),
  };
}
