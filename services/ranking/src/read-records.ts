import { CkvError } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/grpc-client';
import { closeRedis, connectRedis } from '@collectivekv/redis-connection';
import type { Logger } from '@collectivekv/service-kit';
import { createRedisRecordReader } from '@collectivekv/user-store';
import type { RankingConfig } from './config.js';

/** Reads users' records of a bundle, aligned with `userIds`; undefined where a user has none. */
export type ReadRecords = (
  bundleId: string,
  userIds: readonly string[],
  limits: { deadlineMs: number },
) => Promise<readonly (Uint8Array | undefined)[]>;

/** Users of one call. */
export const MAX_READS = 512;

/** Reads through the user-cache service. */
export function readThroughUserCache(userCache: GrpcClient<'UserCacheService'>): ReadRecords {
  return async (bundleId, userIds, { deadlineMs }) => {
    const { records } = await userCache.call('GetRecords', { bundleId, userIds: [...userIds] }, { deadlineMs });
    if (records.length !== userIds.length) throw new CkvError('bug', 'user-cache answered another number of records');
    return records.map((bytes) => (bytes.length > 0 ? bytes : undefined));
  };
}

/** A way to the records. */
export interface RecordReads {
  readonly read: ReadRecords;
  close(): void;
}

/** Opens the way through the user-cache service. */
export function openUserCacheReads(config: RankingConfig): RecordReads {
  const userCache = createGrpcClient('UserCacheService', config.CKV_USER_CACHE_TARGET, config);
  return { read: readThroughUserCache(userCache), close: userCache.close };
}

/**
 * Opens the way to the records' Redis itself, for reading alone. A command has no deadline: who waits gives up by their own.
 * @throws invalid_request for a bad URL
 */
export function openRedisReads(config: RankingConfig, log: Logger): RecordReads {
  const client = connectRedis(config.CKV_REDIS_URL, {
    field: 'CKV_REDIS_URL',
    name: 'ckv-ranking',
    whenAway: 'fail',
    onError: (error) => log.warn({ problem: error.message }, 'Redis connection'),
  });
  const reader = createRedisRecordReader({ client, keyPrefix: config.CKV_KEY_PREFIX });
  return { read: reader.getRecords, close: () => closeRedis(client) };
}
