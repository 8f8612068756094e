import type { RedisClient } from '@collectivekv/redis-connection';
import { Job, type JobsOptions, type Worker } from 'bullmq';
import type { JobScripts } from './job-scripts.js';

/** Keeps jobs that cannot succeed, as BullMQ's failed jobs, each under a new id. */
export interface AsideShelf {
  /**
   * Sets a job aside. Its own id is free again: the same events can be queued again.
   * @param left replaces the job's data with the work that remains
   */
  put(id: string, message: string, left?: object): Promise<void>;
  /**
   * Sets aside the active jobs that BullMQ cannot read, with their unreadable fields as text.
   * @param isTaken true for jobs that were read
   * @returns the number of unreadable jobs
   */
  putUnreadable(isTaken: (id: string) => boolean): Promise<number>;
}

/** Separates a job's own id from the time at which it was set aside. */
const ASIDE = '.aside-';
/** The fields that BullMQ keeps as JSON, each with its empty value. */
const EMPTY_FIELDS = { data: '{}', opts: '{}', progress: '0', returnvalue: 'null', stacktrace: '[]' } as const;
type JsonField = keyof typeof EMPTY_FIELDS;

/** Creates the shelf of the partition that `worker` consumes. */
export function createAsideShelf(client: RedisClient, worker: Worker, scripts: JobScripts): AsideShelf {
  const activeKey = worker.toKey('active');
  const asideIdOf = (id: string) => `${id.split(ASIDE)[0]}${ASIDE}${Date.now().toString(36)}`;

  /** Sets one active job aside if it is unreadable. Returns true if it was unreadable. */
  async function putIfUnreadable(id: string): Promise<boolean> {
    const key = worker.toKey(id);
    const isJob = (await client.type(key)) === 'hash';
    const fields: Partial<Record<string, string>> = isJob ? await client.hgetall(key) : {};
    const bad = (Object.keys(EMPTY_FIELDS) as JsonField[]).filter(
      (name) => !isReadable(name, fields[name] ?? EMPTY_FIELDS[name]),
    );
    if (isJob && bad.length === 0) return false;
    const unreadable = Object.fromEntries(bad.map((name) => [name, fields[name]]));
    const blank = Object.fromEntries(bad.map((name) => [name, EMPTY_FIELDS[name]]));
    await scripts.setAside(
      { id, opts: optionsOf(bad.includes('opts') ? '' : fields.opts) },
      {
        id: asideIdOf(id),
        reason: `invalid_request: ${bad.join(', ')}: is not JSON; send JSON, which has no NaN`,
        fields: { ...blank, data: JSON.stringify({ unreadable }) },
      },
    );
    return true;
  }

  return {
    async put(id, message, left) {
      const job = await Job.fromId(worker, id);
      if (!job) throw new Error(`job ${id} is gone`);
      const fields: Record<string, string> = left ? { data: JSON.stringify(left), progress: '0' } : {};
      await scripts.setAside({ id, opts: job.opts }, { id: asideIdOf(id), reason: message, fields });
    },
    async putUnreadable(isTaken) {
      // Ask `isTaken` before the next await: a job that is completed in between no longer counts as taken.
      const untaken = (await client.lrange(activeKey, 0, -1)).filter((id) => !isTaken(id));
      let count = 0;
      for (const id of untaken) if (await putIfUnreadable(id)) count++;
      return count;
    },
  };
}

/** Returns a job's own options. BullMQ's script needs a number of attempts, which a foreign job may lack. */
function optionsOf(json: string | undefined): JobsOptions {
  return { attempts: 0, ...(JSON.parse(json || '{}') as JobsOptions) };
}

/** True if BullMQ can read the field: it is JSON, and the options are not null. */
function isReadable(name: JsonField, text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return name !== 'opts' || value !== null;
  } catch {
    return false;
  }
}
