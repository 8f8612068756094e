import { joinWrites, type RedisClient, reachingRedis } from '@collectivekv/redis-connection';
import { createRecordKeys } from './record-keys.js';
import type { UserStore } from './user-store.js';

/** Reads user records. */
export type RecordReader = Pick<UserStore, 'getRecords'>;

/** Creates a reader of user records in Redis. It cannot write. */
export function createRedisRecordReader({
  client,
  keyPrefix,
}: {
  client: RedisClient;
  keyPrefix: string;
}): RecordReader {
  const keys = createRecordKeys(keyPrefix);
  return {
    getRecords: (encodingId, userIds) =>
      reachingRedis(async () => {
        joinWrites(client);
        const found = userIds.map((userId) => client.getBuffer(keys.record(userId, encodingId)).catch(unreadableKey));
        return (await Promise.all(found)).map((bytes) => bytes ?? undefined);
      }),
  };
}

/** Stands for a key of another type. Its reader throws record_corrupt, the others go on. */
export const NOT_A_STRING: Buffer = Buffer.from('?');

/** Returns bytes that are not a record for a key of another type. */
export function unreadableKey(error: unknown): Buffer {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return NOT_A_STRING;
  throw error;
}
