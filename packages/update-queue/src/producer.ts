import { CkvError, type Interaction, partitionOf } from '@collectivekv/domain';
import { isConnected, type RedisClient, redisError } from '@collectivekv/redis-connection';
import { forgetJobData, jobIdOf, MAX_JOB_INTERACTIONS, recordJobData } from './interaction-jobs.js';
import { openQueues } from './partition-queue.js';

/** Options of {@link createInteractionProducer}. */
export interface ProducerOptions {
  /** A connection that fails at once while Redis is away. */
  readonly client: RedisClient;
  readonly keyPrefix: string;
  readonly partitionCount: number;
  /** Jobs that may wait in a partition. */
  readonly maxWaitingJobs: number;
}

/** Queues interactions. */
export interface InteractionProducer {
  /**
   * Resolves when Redis holds all of them; one user's stay in order. The same batch again, while it waits, is queued once.
   * @throws overloaded at the bound, dependency_unavailable
   */
  record(interactions: readonly Interaction[]): Promise<void>;
  /** Queues the removal of an interaction, behind whatever its user has queued already. */
  forget(interaction: Interaction): Promise<void>;
  close(): Promise<void>;
}

/** How long a count of waiting jobs is trusted. */
const COUNT_TRUST_MS = 100;
const RETRY_AFTER_MS = 1_000;

/** Creates a producer. */
export function createInteractionProducer(options: ProducerOptions): InteractionProducer {
  const { client, keyPrefix, partitionCount, maxWaitingJobs } = options;
  const queues = openQueues(client, keyPrefix, partitionCount);
  const counted = queues.map(() => ({ atMs: 0, count: 0 }));

  async function add(partition: number, jobs: { name: string; jobData: object; jobId: string }[]): Promise<void> {
    const queue = queues[partition];
    const known = counted[partition];
    if (!queue || !known) throw new CkvError('bug', `no partition ${partition}`);
    if (Date.now() - known.atMs > COUNT_TRUST_MS) {
      known.count = await queue.getWaitingCount();
      known.atMs = Date.now();
    }
    if (known.count + jobs.length > maxWaitingJobs) {
      const text = `${known.count} jobs wait in partition ${partition}, at most ${maxWaitingJobs} may; add updaters`;
      throw new CkvError('overloaded', text, { retryAfterMs: RETRY_AFTER_MS });
    }
    known.count += jobs.length;
    await queue.addBulk(jobs.map(({ name, jobData, jobId }) => ({ name, data: jobData, opts: { jobId } })));
  }

  async function reachingRedis(work: () => Promise<unknown>): Promise<void> {
    if (!isConnected(client)) throw redisError(new Error('not connected'));
    try {
      await work();
    } catch (thrown) {
      throw redisError(thrown);
    }
  }

  return {
    record: (interactions) =>
      reachingRedis(async () => {
        const adds = [...groupByPartition(interactions, partitionCount)].map(([partition, group]) => {
          const jobs = [];
          for (let from = 0; from < group.length; from += MAX_JOB_INTERACTIONS) {
            const part = group.slice(from, from + MAX_JOB_INTERACTIONS);
            jobs.push({ name: 'record', jobData: recordJobData(part), jobId: jobIdOf('record', part) });
          }
          return add(partition, jobs);
        });
        await Promise.all(adds);
      }),
    forget: (interaction) =>
      reachingRedis(() => {
        const jobId = jobIdOf('forget', [interaction]);
        const job = { name: 'forget', jobData: forgetJobData(interaction), jobId };
        return add(partitionOf(interaction.userId, partitionCount), [job]);
      }),
    async close() {
      await Promise.all(queues.map((queue) => queue.close()));
    },
  };
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
