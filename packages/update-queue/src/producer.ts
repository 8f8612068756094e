import { createHash } from 'node:crypto';
import { CkvError, type Interaction, partitionOf, RECENT_EVENT_RING } from '@collectivekv/domain';
import { isConnected, type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { inSpan, recordedTraceparent } from '@collectivekv/tracing';
import type { JobsOptions } from 'bullmq';
import {
  deleteJobData,
  type ErasureJob,
  forgetJobData,
  type InteractionJob,
  jobIdOf,
  MAX_JOB_INTERACTIONS,
  recordJobData,
} from './interaction-jobs.js';
import { bullmqCommand, readScript } from './lua-script.js';
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
   * Queues the interactions of a call. Resolves when Redis holds all of them. A user's interactions stay in order.
   *
   * The same interactions in the same order are queued once while their jobs wait, and once within a minute. They are
   * queued once within an hour if the call has a key, or more interactions of one user than a record's ring holds.
   * @param idempotencyKey names the call; empty for a call without a key
   * @throws overloaded at the bound, dependency_unavailable
   */
  enqueue(interactions: readonly Interaction[], idempotencyKey?: string): Promise<void>;
  /**
   * Queues the removal of an interaction, behind the queued interactions of its user.
   * @param receiptId the same call is queued once while its job waits
   */
  forget(interaction: Interaction, receiptId?: string): Promise<void>;
  /** Queues the deletion of a user, behind the user's queued interactions. As `forget` for the receipt's id. */
  deleteUser(userId: string, receiptId: string): Promise<void>;
  /**
   * Queues a job that another partition accepted before. The bound does not apply to it. If an updater stalls and
   * another forwards the same job again, it is queued once within an hour.
   * @param origin names the job among all that were ever queued
   * @param traceparent the span that queued the job at first; empty without one
   */
  forward(job: InteractionJob, origin: string, traceparent?: string): Promise<void>;
  close(): Promise<void>;
}

interface QueuedJob {
  readonly name: string;
  readonly jobData: object;
  readonly opts: JobsOptions;
}

/**
 * How long the queue remembers the jobs of a call that records may not recognise, so that a repeated job is skipped.
 */
export const REMEMBER_JOB_MS = 3_600_000;
/** Takes the place of BullMQ's script on the producer's client. It remembers every `record` job for a minute. */
const ADD_JOB = readScript('add-job-9.lua', ['addStandardJob-9']);
/** How long a count of waiting jobs is trusted. */
const COUNT_TRUST_MS = 100;
const RETRY_AFTER_MS = 1_000;

/** Creates a producer. */
export function createInteractionProducer(options: ProducerOptions): InteractionProducer {
  const { client, keyPrefix, partitionCount, maxWaitingJobs } = options;
  client.defineCommand(bullmqCommand('addStandardJob'), ADD_JOB);
  const queues = openQueues(client, keyPrefix, partitionCount);
  const counted = queues.map(() => ({ atMs: Number.NEGATIVE_INFINITY, count: 0 }));

  async function add(partition: number, jobs: readonly QueuedJob[], bounded: boolean): Promise<void> {
    const queue = queues[partition];
    const known = counted[partition];
    if (!queue || !known) throw new CkvError('bug', `no partition ${partition}`);
    if (performance.now() - known.atMs > COUNT_TRUST_MS) {
      known.count = await queue.getWaitingCount();
      known.atMs = performance.now();
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

  function addInteractions(
    interactions: readonly Interaction[],
    remembered: string | undefined,
    { bounded, traceparent }: { readonly bounded: boolean; readonly traceparent: string },
  ) {
    return ifConnected(async () => {
      const adds = [...groupByPartition(interactions, partitionCount)].map(([partition, group]) => {
        const jobs: QueuedJob[] = [];
        for (let from = 0; from < group.length; from += MAX_JOB_INTERACTIONS) {
          const part = group.slice(from, from + MAX_JOB_INTERACTIONS);
          const opts = jobOptions(jobIdOf('record', part), remembered);
          jobs.push({ name: 'record', jobData: recordJobData(part, traceparent), opts });
        }
        return add(partition, jobs, bounded);
      });
      await Promise.all(adds);
    });
  }
  const addErasure = (job: ErasureJob, remembered: string | undefined, bounded: boolean) =>
    ifConnected(() => {
      const { userId, jobId, jobData } = queuedErasureOf(job);
      // Without a name, every removal counts: an earlier one may have come before its interaction.
      const opts = remembered === undefined ? { jobId } : jobOptions(jobId, remembered);
      return add(partitionOf(userId, partitionCount), [{ name: job.kind, jobData, opts }], bounded);
    });

  return {
    enqueue: (interactions, idempotencyKey = '') => {
      const remembered = idempotencyKey !== '' || exceedsRing(interactions) ? idempotencyKey : undefined;
      return inSpan({ name: 'queue interactions', kind: 'producer' }, () =>
        addInteractions(interactions, remembered, { bounded: true, traceparent: recordedTraceparent() }),
      );
    },
    forget: (interaction, receiptId) => addErasure({ kind: 'forget', interaction, receiptId }, undefined, true),
    deleteUser: (userId, receiptId) => addErasure({ kind: 'delete', userId, receiptId }, undefined, true),
    forward: (job, origin, traceparent = '') =>
      job.kind === 'record'
        ? addInteractions(job.interactions, origin, { bounded: false, traceparent })
        : addErasure(job, origin, false),
    async close() {
      await Promise.all(queues.map((queue) => queue.close()));
    },
  };
}

function queuedErasureOf(job: ErasureJob): {
  readonly userId: string;
  readonly jobId: string;
  readonly jobData: object;
} {
  const { kind, receiptId } = job;
  if (kind === 'delete') {
    return { userId: job.userId, jobId: `${kind}-${receiptId}`, jobData: deleteJobData(job.userId, job.receiptId) };
  }
  const { interaction } = job;
  const jobId = receiptId === undefined ? jobIdOf(kind, [interaction]) : `${kind}-${receiptId}`;
  return { userId: interaction.userId, jobId, jobData: forgetJobData(interaction, receiptId) };
}

/**
 * Returns the options of a job.
 * @param jobId made of the job's events: the job is queued once while it waits, and once within a minute
 * @param remembered if given, a job of this id and this name is queued once within an hour. An empty name stands for
 * all calls without a key
 */
function jobOptions(jobId: string, remembered: string | undefined): JobsOptions {
  if (remembered === undefined) return { jobId };
  const id =
    remembered === '' ? jobId : `${jobId}-${createHash('sha256').update(remembered).digest('hex').slice(0, 24)}`;
  return { jobId, deduplication: { id, ttl: REMEMBER_JOB_MS } };
}

/**
 * True if a user has more interactions in the call than the ring of a record holds. The ring recognises a smaller call
 * event by event, even if the call takes several jobs.
 */
function exceedsRing(interactions: readonly Interaction[]): boolean {
  const counts = new Map<string, number>();
  for (const { userId } of interactions) counts.set(userId, (counts.get(userId) ?? 0) + 1);
  return Math.max(...counts.values()) > RECENT_EVENT_RING;
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
