import { toCkvError } from '@collectivekv/domain';
import { closeRedis, connectRedis, type RedisClient, redisTlsFrom } from '@collectivekv/redis-connection';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import type { ServiceContext } from '@collectivekv/service-kit';
import { createRedisRecordReader, type RecordReader, watchErasures } from '@collectivekv/user-store';
import type { RankingConfig } from '../config.js';
import { joinReads } from './joined-reads.js';
import type { ReadRecord } from './read-record.js';
import type { RecordSource } from './record-source.js';

/** Shortest time between two reports of failed reads, ms. */
const REPORT_EVERY_MS = 10_000;

/** A connection to the records. */
export interface RecordReads {
  readonly read: ReadRecord;
  /**
   * Drops copies when their users are deleted. Through the user-cache nobody hears of it: copies have a greatest age.
   */
  followErasures(source: Pick<RecordSource, 'dropUser' | 'dropAll'>): void;
  close(): void;
}

/**
 * Connects to Redis or the user-cache, as CKV_RECORD_READS says.
 * @throws invalid_request for a bad Redis URL
 */
export function openRecordReads(
  config: RankingConfig,
  { log, clientOptions, onFileOutcome }: Pick<ServiceContext, 'log' | 'clientOptions' | 'onFileOutcome'>,
): RecordReads {
  if (config.CKV_RECORD_READS === 'user-cache') {
    const userCache = createGrpcClient('UserCacheService', config.CKV_USER_CACHE_TARGET, clientOptions);
    const read = reporting(readThroughUserCache(userCache), log);
    return { read, followErasures: () => undefined, close: userCache.close };
  }
  const options = { field: 'CKV_REDIS_URL', tls: redisTlsFrom(config, onFileOutcome) };
  const client = connectRedis(config.CKV_REDIS_URL, {
    ...options,
    name: 'ckv-ranking',
    whenAway: 'fail',
    onError: (error) => log.warn({ problem: error.message }, 'Redis connection'),
  });
  const reader = createRedisRecordReader({ client, keyPrefix: config.CKV_KEY_PREFIX });
  let watching: RedisClient | undefined;
  return {
    read: reporting(readFromRedis(reader), log),
    followErasures({ dropUser, dropAll }) {
      watching = connectRedis(config.CKV_REDIS_URL, {
        ...options,
        name: 'ckv-ranking-erasures',
        whenAway: 'fail', // a server that hangs is left
        onError: () => undefined, // the other connection logs it
      });
      watchErasures({
        client: watching,
        keyPrefix: config.CKV_KEY_PREFIX,
        onErased: dropUser,
        onBegun: dropAll,
        onRefused: ({ message }) => log.warn({ problem: message }, 'erasures are not heard: copies live to their age'),
      });
    },
    close() {
      closeRedis(client);
      if (watching) closeRedis(watching);
    },
  };
}

/**
 * Logs why reads fail, at most once in {@link REPORT_EVERY_MS}. Answers without history carry the reason only, so the
 * log alone has the cause.
 */
export function reporting(read: ReadRecord, log: Pick<ServiceContext['log'], 'warn'>): ReadRecord {
  let reportedMs = Number.NEGATIVE_INFINITY;
  return async (...query) => {
    try {
      return await read(...query);
    } catch (thrown) {
      const { reason, message, cause } = toCkvError(thrown);
      const nowMs = performance.now();
      if (nowMs - reportedMs >= REPORT_EVERY_MS) {
        reportedMs = nowMs;
        const problem = cause instanceof Error ? `${message}: ${cause.message}` : message;
        log.warn({ reason, problem }, 'a record cannot be read');
      }
      throw thrown;
    }
  };
}

/** Reads through the user-cache service. Concurrent reads share calls. */
export function readThroughUserCache(userCache: GrpcClient<'UserCacheService'>): ReadRecord {
  return joinReads(async (encodingId, userIds, deadlineMs) => {
    const { records } = await userCache.call('GetRecords', { encodingId, userIds: [...userIds] }, { deadlineMs });
    return records.map((bytes) => (bytes.length > 0 ? bytes : undefined));
  });
}

/** Reads from Redis itself, one command a read: joining them costs more than it saves. */
function readFromRedis(reader: RecordReader): ReadRecord {
  return async (encodingId, userId) => (await reader.getRecords(encodingId, [userId]))[0];
}
