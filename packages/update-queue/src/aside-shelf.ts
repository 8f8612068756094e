import type { RedisClient } from '@collectivekv/redis-connection';
import type { Worker } from 'bullmq';
import { ASIDE, type KeepWhenDone, readJobOptions } from './job-options.js';
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

/** The fields that BullMQ keeps as JSON, each with its empty value. */
const JSON_FIELDS = { data: '{}', opts: '{}', progress: '0', returnvalue: 'null', stacktrace: '[]' } as const;
/** The fields that BullMQ counts in, each with its empty value. */
const COUNT_FIELDS = { ats: '0', atm: '0', stc: '0' } as const;
const EMPTY_FIELDS = { ...JSON_FIELDS, ...COUNT_FIELDS };
type StoredField = keyof typeof EMPTY_FIELDS;

/** Creates the shelf of the partition that `worker` consumes. */
export function createAsideShelf(client: RedisClient, worker: Worker, scripts: JobScripts): AsideShelf {
  const activeKey = worker.toKey('active');
  const asideIdOf = (id: string) => `${id.split(ASIDE)[0]}${ASIDE}${Date.now().toString(36)}`;

  /** Sets one active job aside if it is unreadable. Returns true if it was unreadable. */
  async function putIfUnreadable(id: string): Promise<boolean> {
    const key = worker.toKey(id);
    const isJob = (await client.type(key)) === 'hash';
    const fields: StoredFields = isJob ? await client.hgetall(key) : {};
    const bad = unreadableFields(fields);
    if (isJob && bad.length === 0) return false;
    const unreadable = Object.fromEntries(bad.map((name) => [name, fields[name]]));
    await scripts.setAside(id, keepOf(fields), {
      id: asideIdOf(id),
      reason: `invalid_request: ${problemOf(bad)}`,
      fields: { ...blank(bad), data: JSON.stringify({ unreadable }) },
    });
    return true;
  }

  return {
    async put(id, message, left) {
      const stored: StoredFields = await client.hgetall(worker.toKey(id));
      if (Object.keys(stored).length === 0) throw new Error(`job ${id} is gone`);
      const rest = left ? { data: JSON.stringify(left), progress: '0' } : {};
      const fields = { ...blank(unreadableFields(stored)), ...rest };
      await scripts.setAside(id, keepOf(stored), { id: asideIdOf(id), reason: message, fields });
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

type StoredFields = Readonly<Partial<Record<string, string>>>;

/** Returns the fields that BullMQ could not read. */
function unreadableFields(fields: StoredFields): StoredField[] {
  return (Object.keys(EMPTY_FIELDS) as StoredField[]).filter(
    (name) => !isReadable(name, fields[name] ?? EMPTY_FIELDS[name]),
  );
}

function isReadable(name: StoredField, text: string): boolean {
  if (name in COUNT_FIELDS) return /^-?\d{1,15}$/.test(text);
  try {
    const value: unknown = JSON.parse(text);
    return name !== 'opts' || value !== null;
  } catch {
    return false;
  }
}

function problemOf(bad: readonly StoredField[]): string {
  const json = bad.filter((name) => name in JSON_FIELDS);
  if (json.length > 0) return `${json.join(', ')}: is not JSON; send JSON, which has no NaN`;
  return `${bad.join(', ')}: is not a whole number; leave it to BullMQ`;
}

function blank(fields: readonly StoredField[]): Record<string, string> {
  return Object.fromEntries(fields.map((name) => [name, EMPTY_FIELDS[name]]));
}

/** Returns the job's own option for a job that is set aside. */
function keepOf({ opts }: StoredFields): KeepWhenDone {
  try {
    return readJobOptions(opts ?? '').removeOnFail;
  } catch {
    return undefined;
  }
}
