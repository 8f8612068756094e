import type { RedisClient } from '@collectivekv/redis-connection';
import type { InteractionProducer } from '@collectivekv/update-queue';
import { createInteractionHandlers } from '../../services/updater/src/handlers.js';
import type { Doors } from './feed.js';
import { KEY_PREFIX, receiptsOf } from './model-updater.js';
import { modelNowMs } from './virtual-time.js';

/**
 * Opens the doors to the queue: an updater's handlers, and Redis itself for jobs of other senders.
 * @param client the connection of the handlers
 * @param redis a connection that the schedule does not move
 */
export function openDoors(client: RedisClient, producer: InteractionProducer, redis: RedisClient): Doors {
  const service = createInteractionHandlers(producer, receiptsOf(client), { requireNoEviction: () => undefined });
  const waiting = { ended: undefined };

  /** Does not wait for Redis: whoever waited would go on at a time that the schedule does not choose. */
  async function add(partition: number, id: string, payload: string): Promise<void> {
    const key = `{${KEY_PREFIX}}:interactions-${partition}`;
    const job = { name: 'record', data: payload, opts: '{}', delay: '0', priority: '0' };
    const fields = { ...job, timestamp: String(modelNowMs()) };
    void redis.multi().hset(`${key}:${id}`, fields).lpush(`${key}:wait`, id).exec();
  }

  return {
    record: (interactions, idempotencyKey) => service.Record({ interactions, idempotencyKey } as never, waiting),
    forget: (interaction, receiptId) => service.Forget({ interaction, receiptId } as never, waiting),
    deleteUser: (userId, receiptId) => service.DeleteUser({ userId, receiptId }, waiting),
    addJob: (partition, id, payload) => add(partition, id, JSON.stringify(payload)),
    addUnreadable: (partition, id) => add(partition, id, 'NaN'),
  };
}
