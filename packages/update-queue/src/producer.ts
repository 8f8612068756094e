import { CkvError, type Interaction, partitionOf, RECENT_EVENT_RING } from '@collectivekv/domain';
import { isConnected, type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import type { JobsOptions } from 'bullmq';
import {
  forgetJobData,
  type InteractionJob,
  jobIdOf,
  MAX_JOB_INTERACTIONS,
  recordJobData,
} from './interaction-jobs.js';
import { openQueues } from './open-queues.js';

/** Options of {@link createInteractionProducer}. */
export interface ProducerOptions {
  /** A connection whose commands fail at once while Redis is away. */
  readonly client: RedisClient;
  readonly keyPrefix: string;
  readonly partitionCount: number;
  /** Most jobs that may wait in a partition. */
  readonly maxWaitingJobs: number;
}

/** Puts interactions into the queue. */
export interface InteractionProducer {
  /**
   * Queues interactions. Resolves when Redis holds all of them. A user's interactions stay in order. If the same
   * interactions are sent again while their job waits, they are queued once.
   * @throws overloaded at the bound, dependency_unavailable
   */
  enqueue(interactions: readonly Interaction[]): Promise<void>;
  /** Queues the removal of an interaction, behind the queued interactions of its user. */
  forget(interaction: Interaction): Promise<void>;
  /** Queues a job that another partition accepted before. The bound does not apply to it. */
  forward(job: InteractionJob): Promise<void>;
  close(): Promise<void>;
}

interface QueuedJob {
  readonly name: string;
  readonly jobData: object;
  readonly opts: JobsOptions;
}

/** How long the queue remembers a job that a record's ring cannot recognise, so that a repeated job is skipped. */
const REMEMBER_JOB_MS = 3_600_000;
/** How long a count of waiting jobs is trusted. */
const COUNT_TRUST_MS = 100;
const RETRY_AFTER_MS = 1_000;

/** Creates a producer. */
export function createInteractionProducer(options: ProducerOptions): InteractionProducer {
  const { client, keyPrefix, partitionCount, maxWaitingJobs } = options;
  const queues = openQueues(client, keyPrefix, partitionCount);
  const counted = queues.map(() => ({ atMs: 0, count: 0 }));

  async function add(partition: number, jobs: readonly QueuedJob[], bounded: boolean): Promise<void> {
    const queue = queues[partition];
    const known = counted[partition];
    if (!queue || !known) throw new CkvError('bug', `no partition ${partition}`);
    if (Date.now() - known.atMs > COUNT_TRUST_MS) {
      known.count = await queue.getWaitingCount();
      known.atMs = Date.now();
    }
    if (bounded && known.count + jobs.length > maxWaitingJobs) {
      const text = `${known.count} jobs wait in partition ${partition}, at most ${maxWaitingJobs} may; add updaters`;
      throw new CkvError('overloaded', text, { retryAfterMs: RETRY_AFTER_MS });
    }
    known.count += jobs.length;
    const [first, ...others] = jobs;
    if (first && others.length === 0)
      await queue.add(first.name, first.jobData, first.opts); // half the cost of a bulk
    else await queue.addBulk(jobs.map(({ name, jobData, opts }) => ({ name, data: jobData, opts })));
  }

  /** Throws at once if there is no connection; BullMQ would wait for one. */
  const ifConnected = (work: () => Promise<unknown>) =>
    reachingRedis(async () => {
      if (!isConnected(client)) throw new Error('not connected');
      await work();
    });

  const addInteractions = (interactions: readonly Interaction[], bounded: boolean) =>
    ifConnected(async () => {
      const adds = [...groupByPartition(interactions, partitionCount)].map(([partition, group]) => {
        const jobs: QueuedJob[] = [];
        for (let from = 0; from < group.length; from += MAX_JOB_INTERACTIONS) {
          const part = group.slice(from, from + MAX_JOB_INTERACTIONS);
          jobs.push({ name: 'record', jobData: recordJobData(part), opts: recordJobOptions(part) });
        }
        return add(partition, jobs, bounded);
      });
      await Promise.all(adds);
    });
  const addRemoval = (interaction: Interaction, bounded: boolean) =>
    ifConnected(() => {
      const opts = { jobId: jobIdOf('forget', [interaction]) };
      const job = { name: 'forget', jobData: forgetJobData(interaction), opts };
      return add(partitionOf(interaction.userId, partitionCount), [job], bounded);
    });

  return {
    enqueue: (interactions) => addInteractions(interactions, true),
    forget: (interaction) => addRemoval(interaction, true),
    forward: (job) =>
      job.kind === 'record' ? addInteractions(job.interactions, false) : addRemoval(job.interaction, false),
    async close() {
      await Promise.all(queues.map((queue) => queue.close()));
    },
  };
}

/**
 * Returns the options of a `record` job. The ring in the user's record recognises a repeated small job, event by
 * event. If a job has more interactions of one user than the ring holds, the queue recognises the whole job, for an hour
 * after it was queued.
 */
function recordJobOptions(interactions: readonly Interaction[]): JobsOptions {
  const jobId = jobIdOf('record', interactions);
  const counts = new Map<string, number>();
  for (const { userId } of interactions) counts.set(userId, (counts.get(userId) ?? 0) + 1);
  if (Math.max(...counts.values()) <= RECENT_EVENT_RING) return { jobId };
  return { jobId, deduplication: { id: jobId, ttl: REMEMBER_JOB_MS } };
}

function groupByPartition(interactions: readonly Interaction[], partitionCount: number): Map<number, Interaction[]> {
  const groups = new Map<number, Interaction[]>();
  for (const interaction of interactions) {
    const partition = partitionOf(interaction.userId, partitionCount);
    const group = groups.get(partition);
    if (group) group.push(interaction);
    else groups.set(partition, [interaction]);
  }
  return groups;
}
