import type { RedisClient } from '@collectivekv/redis-connection';
import { Job, UnrecoverableError, type Worker } from 'bullmq';

/** Where jobs go that cannot succeed: BullMQ's failed jobs, each under an id of its own. */
export interface AsideShelf {
  /** Sets a job aside. Its id is free again then: the same events can be queued anew. */
  put(job: Job, message: string): Promise<void>;
  /**
   * Sets aside the active jobs that BullMQ cannot read, with what they held as text.
   * @param isTaken true for jobs that were read
   * @returns how many there were
   */
  putUnreadable(isTaken: (id: string) => boolean): Promise<number>;
}

/** Between a job's own id and when it was set aside. */
const ASIDE = '.aside-';
/** What BullMQ keeps of a job as JSON, and what stands for nothing in each. */
const EMPTY_FIELDS = { data: '{}', opts: '{}', progress: '0', returnvalue: 'null', stacktrace: '[]' } as const;
type JsonField = keyof typeof EMPTY_FIELDS;

/** Creates the shelf of a partition that `worker` consumes under `token`. */
export function createAsideShelf(client: RedisClient, worker: Worker, token: string): AsideShelf {
  const failedKey = worker.toKey('failed');
  const activeKey = worker.toKey('active');

  async function put(job: Job, message: string): Promise<void> {
    await job.moveToFailed(new UnrecoverableError(message), token, false);
    const id = String(job.id);
    const score = await client.zscore(failedKey, id);
    if (score === null) return; // its own options say that it is not to be kept
    const asideId = `${id.split(ASIDE)[0]}${ASIDE}${Date.now().toString(36)}`;
    const move = client.multi().rename(worker.toKey(id), worker.toKey(asideId));
    move.zrem(failedKey, id).zadd(failedKey, score, asideId);
    if (job.deduplicationId) move.del(worker.toKey(`de:${job.deduplicationId}`));
    await move.exec();
  }

  async function blankUnreadable(id: string): Promise<JsonField[]> {
    const key = worker.toKey(id);
    const fields = await client.hgetall(key);
    const bad = (Object.keys(EMPTY_FIELDS) as JsonField[]).filter(
      (name) => !isJson(fields[name] ?? EMPTY_FIELDS[name]),
    );
    if (bad.length === 0) return [];
    const unreadable = Object.fromEntries(bad.map((name) => [name, fields[name]]));
    const blank = Object.fromEntries(bad.map((name) => [name, EMPTY_FIELDS[name]]));
    await client.hset(key, { ...blank, data: JSON.stringify({ unreadable }) });
    return bad;
  }

  return {
    put,
    async putUnreadable(isTaken) {
      let count = 0;
      // Asked at once: what is completed meanwhile is not taken any more.
      const untaken = (await client.lrange(activeKey, 0, -1)).filter((id) => !isTaken(id));
      for (const id of untaken) {
        if ((await client.type(worker.toKey(id))) !== 'hash') {
          await client.lrem(activeKey, 0, id); // a name without a job
          count++;
          continue;
        }
        const bad = await blankUnreadable(id);
        if (bad.length === 0) continue;
        const job = await Job.fromId(worker, id);
        if (job) await put(job, `invalid_request: ${bad.join(', ')}: is no JSON; send JSON, which has no NaN`);
        count++;
      }
      return count;
    },
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
