import { type RedisClient, watchChannel } from '@collectivekv/redis-connection';
import { createRecordKeys } from './record-keys.js';

/** Parts of {@link watchErasures}. */
export interface ErasureWatch {
  /** A connection of its own: it can do nothing else while it watches. */
  readonly client: RedisClient;
  readonly keyPrefix: string;
  /** Receives a user whose records were deleted or edited. */
  readonly onErased: (userId: string) => void;
  /** Called when the watch begins, and when it goes on after a break: erasures may have been missed. */
  readonly onBegun: () => void;
  /** Called when Redis refuses the watch. */
  readonly onRefused: (error: Error) => void;
}

/**
 * Announces that a user's records were deleted or edited. Whoever keeps copies drops them. Nobody may hear it, so a
 * copy must have a greatest age as well.
 */
export async function announceErasure(client: RedisClient, keyPrefix: string, userId: string): Promise<void> {
  await client.publish(createRecordKeys(keyPrefix).erasures, userId).catch(() => undefined);
}

/** Watches for the erasures that stores announce, until the connection is closed. */
export function watchErasures({ client, keyPrefix, onErased, ...on }: ErasureWatch): void {
  watchChannel(client, { channel: createRecordKeys(keyPrefix).erasures, onMessage: onErased, ...on });
}
