import { createHash } from 'node:crypto';
import { CkvError } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';
import { openingOver } from './job-scripts.js';
import type { PartitionTerm } from './lease-table.js';
import { readScript } from './lua-script.js';
import { leaseKeys, partitionQueueName, queuePrefix } from './queue-names.js';
import { type Erasure, type ErasureSubject, stripJob } from './strip-job.js';

/** Jobs that held something of an erased user. The part of the user is gone from each; without another part, the job. */
export interface ErasedJobs {
  /** Jobs that were set aside. */
  readonly setAsideCount: number;
  /** Jobs that waited: delayed ones, prioritised ones, and those in another partition than the user's. */
  readonly waitingCount: number;
  /** Completed jobs that their senders had told the queue to keep. */
  readonly keptCount: number;
  /** Erasures among these jobs, which have no more to do. */
  readonly erasures: readonly Erasure[];
}

/** Options of {@link createJobSweep}. */
export interface JobSweepOptions {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  /** The term of the user's partition. Redis refuses a late sweep. */
  readonly term: PartitionTerm;
  /** Token of the opening. */
  readonly token: string;
}

/** The scripts as commands of a client. */
interface Commands {
  ckvFindMentions(...args: (string | number)[]): Promise<[count: number, ...ids: string[]]>;
  ckvStripJob(...args: (string | number)[]): Promise<0 | 1 | null>;
}

type Kind = 'setAsideCount' | 'waitingCount' | 'keptCount';

/** Where jobs are that no consumer has: lists and sorted sets of a queue. */
const IDLE_JOBS: Readonly<Record<string, Kind>> = {
  failed: 'setAsideCount',
  completed: 'keptCount',
  delayed: 'waitingCount',
  prioritized: 'waitingCount',
  'waiting-children': 'waitingCount',
};
/**
 * Jobs of these lists are in order with the erasure in the user's own partition. In others they are astray, and count as
 * enqueued when they are passed on. The deletion of a user looks at the newest of them all the same.
 */
const ORDERED_JOBS: Readonly<Record<string, Kind>> = { wait: 'waitingCount', paused: 'waitingCount' };
/** Most jobs of one list that are looked at: as many as may be set aside. A longer list is a backlog, and may be endless. */
const MAX_LOOKS = 10_000;
/** Text that no JSON encoder writes with escapes. */
const PLAIN = /^[\w .:@~-]*$/;
/** Jobs of one script call. A small number keeps the calls behind it from waiting long. */
const PAGE = 500;
/** Each pass repeats what other writers changed meanwhile. */
const MAX_PASSES = 20;

/**
 * Creates the function that takes a user, or one event, out of all jobs that are not active. In the user's own partition
 * the waiting jobs stay: they were enqueued after the erasure. The deletion of a
 * user also empties the streams of BullMQ's events, which hold job ids.
 * @throws conflict if the term is over, or other writers keep changing the jobs
 */
export function createJobSweep({ client, keyPrefix, term, token }: JobSweepOptions) {
  client.defineCommand('ckvFindMentions', readScript('find-mentions-1.lua'));
  client.defineCommand('ckvStripJob', readScript('strip-job-3.lua'));
  const commands = client as unknown as Commands;
  const { leases, terms } = leaseKeys(keyPrefix);

  /** Returns the ids of jobs that may mention the text, among the first `mostLooks` of a list or set. */
  async function find(queueKeys: string, container: string, text: string, mostLooks: number): Promise<string[]> {
    const found: string[] = [];
    const search = [text, PLAIN.test(text) ? 0 : 1] as const;
    for (let from = 0; from < mostLooks; from += PAGE) {
      const [count, ...ids] = await commands.ckvFindMentions(queueKeys + container, queueKeys, from, PAGE, ...search);
      found.push(...ids);
      if (count < PAGE) break;
    }
    return found;
  }

  /** Strips a job. Returns undefined if it holds nothing of the subject; else whether it was stripped now. */
  async function strip(queueKeys: string, container: string, id: string, subject: ErasureSubject) {
    const jobData = await client.hgetBuffer(queueKeys + id, 'data');
    if (!jobData) return undefined;
    const stripped = stripJob(jobData.toString(), subject);
    if (stripped.left === 'all') return undefined;
    const sha1 = createHash('sha1').update(jobData).digest('hex');
    const left = stripped.left === 'part' ? stripped.jobData : '';
    const job = [queueKeys, id, sha1, left] as const;
    const done = await commands.ckvStripJob(
      queueKeys + container,
      leases,
      terms,
      ...job,
      term.partition,
      term.member,
      term.term,
      token,
    );
    if (done === null) throw openingOver(term);
    return { done: done === 1, erasure: stripped.left === 'nothing' ? stripped.erasure : undefined };
  }

  return async (subject: ErasureSubject, partitionCount: number): Promise<ErasedJobs> => {
    const counts = { setAsideCount: 0, waitingCount: 0, keptCount: 0 };
    const erasures: Erasure[] = [];
    const text = subject.eventId ?? subject.userId;

    async function sweep(partition: number): Promise<void> {
      const queueKeys = `${queuePrefix(keyPrefix)}:${partitionQueueName(partition)}:`;
      const astray = subject.eventId === undefined && partition !== term.partition;
      const containers = Object.entries({ ...IDLE_JOBS, ...(astray ? ORDERED_JOBS : {}) });
      const exist = await Promise.all(containers.map(([container]) => client.exists(queueKeys + container)));
      for (const [container, kind] of containers.filter((_, i) => exist[i] === 1)) {
        const mostLooks = container in ORDERED_JOBS ? MAX_LOOKS : Number.POSITIVE_INFINITY;
        for (let pass = 1; ; pass++) {
          let changed = 0;
          for (const id of await find(queueKeys, container, text, mostLooks)) {
            const outcome = await strip(queueKeys, container, id, subject);
            if (!outcome) continue;
            changed++;
            if (!outcome.done) continue;
            counts[kind]++;
            if (outcome.erasure) erasures.push(outcome.erasure);
          }
          if (changed === 0) break;
          if (pass === MAX_PASSES) throw new CkvError('conflict', 'other writers kept changing the jobs; try again');
        }
      }
      if (subject.eventId === undefined) await client.xtrim(`${queueKeys}events`, 'MAXLEN', 0);
    }

    await Promise.all(Array.from({ length: partitionCount }, (_, partition) => sweep(partition)));
    return { ...counts, erasures };
  };
}
