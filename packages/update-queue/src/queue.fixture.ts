import { type Interaction, partitionOf } from '@collectivekv/domain';
import { type PrivateRedis, startTemporaryRedis } from '@collectivekv/private-redis';
import { accessRuleWords, closeRedis, connectedRedis, type RedisClient } from '@collectivekv/redis-connection';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type EventLogBounds, NO_EVENT_LOG } from './event-log.js';
import { openLeaseTable } from './lease-table.js';
import { openPartitionQueue, type PartitionQueue } from './partition-queue.js';
import { createInteractionProducer, type InteractionProducer } from './producer.js';
import { queueOperatorAccess, queueServiceAccess } from './queue-access.js';

/** Partitions of the fixture's queue. */
export const PARTITION_COUNT = 4;
/** The partition of the user `u`. */
export const PARTITION = partitionOf('u', PARTITION_COUNT);

/** A private Redis with an interaction queue, for one test file. */
export interface QueueFixture {
  readonly client: () => RedisClient;
  /** A connection of the user that the documents give to updaters. `produce` and `consume` use it. */
  readonly service: () => RedisClient;
  /** A connection of the user that the documents give to `ckv queue`. */
  readonly operator: () => RedisClient;
  /** Opens another connection of an updater's user, which closes with the file. */
  readonly connect: () => Promise<RedisClient>;
  readonly produce: (maxWaitingJobs?: number) => InteractionProducer;
  /** Opens the partition of `u` for a member whose lease begins now. The lease of any other member is over. */
  readonly consume: (member?: string, eventLog?: EventLogBounds) => Promise<PartitionQueue>;
  /** Returns the key of a job, or of a list of the partition of `u`. */
  readonly key: (name: string) => string;
}

/** Starts Redis before the tests of a file, empties it before each, and stops it after them. */
export function useQueue(): QueueFixture {
  const clients: RedisClient[] = [];
  let redis: PrivateRedis;
  let service: RedisClient;
  let operator: RedisClient;
  const client = () => clients[0] as RedisClient;

  const connectAs = async (user: string) => {
    const url = user === '' ? redis.url : redis.url.replace('://', `://${user}:secret@`);
    const made = await connectedRedis(url, { field: 'url', name: user, whenAway: 'fail' });
    clients.push(made);
    return made;
  };

  beforeAll(async () => {
    redis = await startTemporaryRedis();
    await connectAs('');
    const users = { updater: queueServiceAccess('ckv'), operator: queueOperatorAccess('ckv') };
    for (const [user, access] of Object.entries(users)) {
      await client().call('ACL', 'SETUSER', user, ...accessRuleWords(access, 'secret'));
    }
    service = await connectAs('updater');
    operator = await connectAs('operator');
  });
  beforeEach(async () => {
    await client().flushall();
  });
  afterAll(async () => {
    for (const one of clients) closeRedis(one);
    await redis?.stop();
  });

  return {
    client,
    service: () => service,
    operator: () => operator,
    connect: () => connectAs('updater'),
    produce: (maxWaitingJobs = 10_000) =>
      createInteractionProducer({
        client: service,
        keyPrefix: 'ckv',
        partitionCount: PARTITION_COUNT,
        maxWaitingJobs,
      }),
    async consume(member = 'one', eventLog = NO_EVENT_LOG) {
      await client().del('{ckv}:updaters', '{ckv}:partition-leases');
      const { terms } = await openLeaseTable(service, 'ckv', PARTITION_COUNT).hold(member, 600_000);
      const term = terms.find(({ partition }) => partition === PARTITION);
      if (!term) throw new Error('no lease');
      const queue = openPartitionQueue({ client: service, keyPrefix: 'ckv', term, token: member, eventLog });
      await queue.recover();
      return queue;
    },
    key: (name) => `{ckv}:interactions-${PARTITION}:${name}`,
  };
}

/** Returns the interaction `e<n>` of a user. */
export function interactionOf(n: number, userId = 'u'): Interaction {
  return { eventId: `e${n}`, userId, itemId: `i${n}`, timestampMs: 1_700_000_000_000 + n, action: '', features: {} };
}

/** Returns another user than `u` whose interactions go to `partition`. */
export function otherUserIn(partition: number): string {
  for (let i = 0; ; i++) if (partitionOf(`other ${i}`, PARTITION_COUNT) === partition) return `other ${i}`;
}
