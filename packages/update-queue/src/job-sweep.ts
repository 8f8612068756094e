import { createHash } from 'node:crypto';
import { CkvError } from '@collectivekv/domain';
import type { RedisClient } from '@collectivekv/redis-connection';
import { parseInteractionJob } from './interaction-jobs.js';
import { ASIDE, isOrdered } from './job-options.js';
import { OpeningOver } from './job-scripts.js';
import type { PartitionTerm } from './lease-table.js';
import { readScript } from './lua-script.js';
import { leaseKeys, partitionQueueName, queuePrefix } from './queue-names.js';
import { type Erasure, type ErasureSubject, stripJob } from './strip-job.js';

/**
 * Jobs that held something of an erased user. The user's part is gone from each. Without another part, so is the job.
 */
export interface ErasedJobs {
  /** Jobs that were set aside. */
  readonly setAsideCount: number;
  /** Jobs that waited: delayed ones, prioritised ones, retried ones, and those in another partition than the user's. */
  readonly waitingCount: number;
  /** Completed jobs that their senders had told the queue to keep. */
  readonly keptCount: number;
}

/**
 * Receives the erasures among the jobs that were set aside or kept. They have no more to do. Their jobs are removed
 * after it.
 */
export type FinishErasures = (erasures: readonly Erasure[]) => Promise<void>;

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
  ckvFindMentions(keyCount: number, ...keysAndArguments: (string | number)[]): Promise<number[]>;
  ckvStripJob(...args: (string | number)[]): Promise<0 | 1 | null>;
}

type CountName = keyof ErasedJobs;

/** A list or a sorted set of a queue's jobs. */
interface Container {
  readonly name: string;
  readonly type: 'list' | 'sorted set';
  readonly count: CountName;
}

/** A job that mentions the subject, and what it was when it was read. */
interface FoundJob {
  readonly queueKeys: string;
  readonly container: Container;
  readonly id: string;
  readonly sha1: string;
}

/** Sorted set of the jobs that are taken after all others. */
const PRIORITIZED: Container = { name: 'prioritized', type: 'sorted set', count: 'waitingCount' };
/** List of the jobs that a BullMQ of an earlier version paused. */
const PAUSED: Container = { name: 'paused', type: 'list', count: 'waitingCount' };
/**
 * Where jobs are that no consumer has. A job moves down this list, or from `wait` up to the two that come again below.
 * So a sweep in this order misses no job that moves once.
 */
const CONTAINERS: readonly Container[] = [
  { name: 'failed', type: 'sorted set', count: 'setAsideCount' },
  { name: 'completed', type: 'sorted set', count: 'keptCount' },
  { name: 'waiting-children', type: 'sorted set', count: 'waitingCount' },
  { name: 'delayed', type: 'sorted set', count: 'waitingCount' },
  PRIORITIZED,
  PAUSED,
  { name: 'wait', type: 'list', count: 'waitingCount' },
  PRIORITIZED,
  PAUSED,
];
/**
 * Most jobs of a list that are looked at, the newest. In another partition: as many as may be set aside. In the user's
 * own: as many as may wait by default. A longer list is a backlog, and may be endless.
 */
const MAX_LOOKS = { other: 10_000, own: 100_000 } as const;
/** Text that no JSON encoder writes with escapes. */
const PLAIN = /^[\w .:@~-]*$/;
/** Jobs of one script call. A small number keeps the calls behind it from waiting long. */
const PAGE = 500;
/** Each pass repeats what other writers changed meanwhile. */
const MAX_PASSES = 20;

/**
 * Creates the function that takes a user, or one event, out of all jobs that are not active. These jobs stay:
 *
 * - Jobs that wait in order in the user's own partition: they were enqueued after the erasure.
 * - For one event, jobs that wait in another partition: they count as enqueued when they are passed on.
 * - For one event, delayed or prioritised jobs that have come up in the user's own partition: they count as enqueued
 *   when they came up. So for one event no job of a long backlog is read but those that were set aside and retried.
 * - Erasures that wait: each has its own turn.
 *
 * The deletion of a user also empties the streams of BullMQ's events, which hold job ids.
 * @throws conflict if the term is over, or other writers keep changing the jobs
 */
export function createJobSweep({ client, keyPrefix, term, token }: JobSweepOptions) {
  client.defineCommand('ckvFindMentions', readScript('find-mentions-1n.lua'));
  client.defineCommand('ckvStripJob', readScript('strip-job-3.lua'));
  const commands = client as unknown as Commands;
  const { leases, terms } = leaseKeys(keyPrefix);

  /** Yields every id that is in the container from the beginning to the end, however it changes meanwhile. */
  async function* idsOf(key: string, { type }: Container, mostLooks: number): AsyncIterable<string[]> {
    if (type === 'list') {
      const ids = await client.lrange(key, 0, mostLooks - 1);
      for (let from = 0; from < ids.length; from += PAGE) yield ids.slice(from, from + PAGE);
      return;
    }
    let cursor = '0';
    do {
      const [next, membersAndScores] = await client.zscan(key, cursor, 'COUNT', PAGE);
      cursor = next;
      const ids = membersAndScores.filter((_, i) => i % 2 === 0);
      if (ids.length > 0) yield ids;
    } while (cursor !== '0');
  }

  /** Returns the ids of jobs that may mention the subject. */
  async function find(
    queueKeys: string,
    container: Container,
    { userId, eventId }: ErasureSubject,
    isOwnList: boolean,
  ): Promise<string[]> {
    const found: string[] = [];
    const text = eventId ?? userId;
    const search = [text, PLAIN.test(text) ? 0 : 1];
    const mostLooks = isOwnList ? MAX_LOOKS.own : MAX_LOOKS.other;
    for await (const page of idsOf(queueKeys + container.name, container, mostLooks)) {
      const ids = isOwnList && eventId !== undefined ? page.filter((id) => id.includes(ASIDE)) : page;
      if (ids.length === 0) continue;
      const jobKeys = ids.map((id) => queueKeys + id);
      const numbers = await commands.ckvFindMentions(ids.length, ...jobKeys, ...search);
      found.push(...numbers.map((number) => ids[number - 1] ?? ''));
    }
    return [...new Set(found)]; // ZSCAN may return a member twice
  }

  /** Takes the subject out of a job that was found. Returns false if the job has changed meanwhile, or is gone. */
  async function strip({ queueKeys, container, id, sha1 }: FoundJob, left: string): Promise<boolean> {
    const job = [queueKeys, id, sha1, left];
    const holder = [term.partition, term.member, term.term, token];
    const done = await commands.ckvStripJob(queueKeys + container.name, leases, terms, ...job, ...holder);
    if (done === null) throw new OpeningOver(term);
    return done === 1;
  }

  /**
   * Sweeps one container. Calls `on.stripped` for each stripped job, and `on.erasure` for each erasure with a receipt
   * that does not wait, which it leaves.
   */
  async function sweepContainer(
    queueKeys: string,
    container: Container,
    subject: ErasureSubject,
    on: {
      /** A list of the user's own partition: jobs in order stay. */
      readonly isOwnList: boolean;
      readonly stripped: () => void;
      readonly erasure: (erasure: Erasure, job: FoundJob) => void;
    },
  ): Promise<void> {
    const waits = container.count === 'waitingCount';
    for (let pass = 1; ; pass++) {
      let changed = 0;
      for (const id of await find(queueKeys, container, subject, on.isOwnList)) {
        const fields = await client.hmgetBuffer(queueKeys + id, 'data', 'opts', 'priority', 'delay', 'name');
        const [jobData, opts, priority, delay, name] = fields;
        if (!jobData) continue;
        if (waits && isErasure(`${name ?? ''}`, jobData.toString())) continue;
        if (on.isOwnList && isOrdered({ id, opts: `${opts ?? ''}`, priority, delay })) continue;
        const stripped = stripJob(jobData.toString(), subject);
        if (stripped.left === 'all') continue;
        const sha1 = createHash('sha1').update(jobData).digest('hex');
        const job = { queueKeys, container, id, sha1 };
        if (!waits && stripped.left === 'nothing' && stripped.erasure) {
          on.erasure(stripped.erasure, job);
          continue;
        }
        changed++;
        if (await strip(job, stripped.left === 'part' ? stripped.jobData : '')) on.stripped();
      }
      if (changed === 0) return;
      if (pass === MAX_PASSES) throw new CkvError('conflict', 'other writers kept changing the jobs; try again');
    }
  }

  return async (
    subject: ErasureSubject,
    partitionCount: number,
    finishErasures: FinishErasures,
  ): Promise<ErasedJobs> => {
    const counts = { setAsideCount: 0, waitingCount: 0, keptCount: 0 };
    const ended = new Map<string, { readonly erasure: Erasure; readonly job: FoundJob }>();

    async function sweep(partition: number): Promise<void> {
      const queueKeys = `${queuePrefix(keyPrefix)}:${partitionQueueName(partition)}:`;
      const isOwn = partition === term.partition;
      for (const container of CONTAINERS) {
        if (container.type === 'list' && !isOwn && subject.eventId !== undefined) continue;
        await sweepContainer(queueKeys, container, subject, {
          isOwnList: isOwn && container.type === 'list',
          stripped: () => {
            counts[container.count]++;
          },
          erasure: (erasure, job) => {
            ended.set(queueKeys + job.id, { erasure, job });
          },
        });
      }
      if (subject.eventId === undefined) await client.xtrim(`${queueKeys}events`, 'MAXLEN', 0);
    }

    await Promise.all(Array.from({ length: partitionCount }, (_, partition) => sweep(partition)));
    // First the receipts: without the jobs, nobody would find them after a failure.
    if (ended.size > 0) await finishErasures([...ended.values()].map(({ erasure }) => erasure));
    for (const { job } of ended.values()) if (await strip(job, '')) counts[job.container.count]++;
    return counts;
  };
}

/** True if a job is an erasure that can be read. */
function isErasure(name: string, jobData: string): boolean {
  try {
    return parseInteractionJob(name, JSON.parse(jobData)).kind !== 'record';
  } catch {
    return false;
  }
}
