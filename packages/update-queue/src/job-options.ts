import type { KeepJobs } from 'bullmq';

/** A job's own option for the time after it ended: whether, or how many, to keep. */
export type KeepWhenDone = boolean | number | KeepJobs | undefined;

/** The options of a job that its consumer heeds. */
export interface JobOptions {
  readonly removeOnComplete: KeepWhenDone;
  readonly removeOnFail: KeepWhenDone;
}

/**
 * Reads a job's options. Anybody may have written them, so options of other forms than BullMQ's count as not set.
 * @throws SyntaxError or TypeError if they are not JSON, or null: then BullMQ could not list the job
 */
export function readJobOptions(json: string): JobOptions {
  const { removeOnComplete, removeOnFail } = JSON.parse(json || '{}') as Partial<Record<keyof JobOptions, unknown>>;
  return { removeOnComplete: keepOf(removeOnComplete), removeOnFail: keepOf(removeOnFail) };
}

function keepOf(value: unknown): KeepWhenDone {
  if (typeof value === 'boolean' || isCount(value)) return value;
  if (typeof value !== 'object' || value === null) return undefined;
  const { age, count, limit } = value as Partial<Record<string, unknown>>;
  if (!isCount(age) && !isCount(count)) return undefined;
  return {
    ...(isCount(age) ? { age } : {}),
    ...(isCount(count) ? { count } : {}),
    ...(isCount(limit) ? { limit } : {}),
  } as KeepJobs;
}

/** True for a number that BullMQ's scripts can use as a bound. Negative numbers keep all. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
