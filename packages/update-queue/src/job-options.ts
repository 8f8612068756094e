import type { KeepJobs } from 'bullmq';

/** Separates a job's own id from the time at which it was set aside. */
export const ASIDE = '.aside-';

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

/** The fields of a job that say whether it comes in turn. */
export interface JobOrder {
  readonly id: string;
  /** The job's options as JSON. */
  readonly opts: string;
  readonly priority?: string | Buffer | null | undefined;
  readonly delay?: string | Buffer | null | undefined;
}

/**
 * True if a waiting job is behind the jobs that were enqueued before it. False for a job that was delayed, prioritised,
 * or set aside and retried. Options that cannot be read count as none.
 */
export function isOrdered({ id, opts, priority, delay }: JobOrder): boolean {
  if (id.includes(ASIDE) || Number(priority ?? 0) > 0 || Number(delay ?? 0) > 0) return false;
  try {
    const given = JSON.parse(opts || '{}') as { readonly delay?: unknown; readonly priority?: unknown } | null;
    return !(Number(given?.delay ?? 0) > 0 || Number(given?.priority ?? 0) > 0);
  } catch {
    return true;
  }
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
