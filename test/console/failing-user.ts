import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeRecord, encodingIdOf, parseManifest } from '@collectivekv/domain';
import { closeRedis, connectedRedis } from '@collectivekv/redis-connection';
import { type ConsoleStack, DEMO_BUNDLE, interactionsOf } from './console-stack.js';

/**
 * Gives a user of the demo bundle a record to which nothing can be appended, and records an interaction: its job is set
 * aside.
 * @returns a function that takes the record away
 */
export async function failJobsOf({ stack, client }: ConsoleStack, userId: string): Promise<() => Promise<void>> {
  const encodingId = encodingIdOf(parseManifest(readFileSync(join(DEMO_BUNDLE, 'bundle.json'))));
  const key = `ckv:{${userId}}:${encodingId.slice(0, 8)}`;
  const redis = await connectedRedis(stack.redisUrl, { field: 'url', name: 'test', whenAway: 'wait' });
  await redis.set(key, recordOfOtherEncoding());
  await client.recordInteractions(interactionsOf(userId, 1));
  return async () => {
    await redis.del(key);
    closeRedis(redis);
  };
}

function recordOfOtherEncoding(): Buffer {
  const nothing = new Uint8Array(0);
  const shape = { encodingId: 'f'.repeat(16), strideBytes: 3, lifetimeCount: 0, lastEventMs: 0 };
  return Buffer.from(encodeRecord({ ...shape, recentEvents: nothing, rows: nothing }));
}
