import { type CollectiveKvClient, createCollectiveKvClient } from '@collectivekv/client';
import { createGrpcClient, type GrpcClient, type GrpcClientOptions } from '@collectivekv/rpc';
import type { ConsoleConfig } from './config.js';

/** The services that the console asks, each with the console's own token. */
export interface Upstream {
  readonly pool: GrpcClient<'PoolService'>;
  readonly userCache: GrpcClient<'UserCacheService'>;
  readonly ranking: CollectiveKvClient;
  /** Does work with the pool and the user-cache as the owner of a token; '' is nobody. */
  as<T>(token: string, work: (services: Pick<Upstream, 'pool' | 'userCache'>) => Promise<T>): Promise<T>;
  close(): void;
}

/** Creates the clients. They connect with the first call. */
export function openUpstream(config: ConsoleConfig, options: GrpcClientOptions): Upstream {
  const named = (target: string) => ({ ...options.optionNames, target });
  const pool = (own: GrpcClientOptions) =>
    createGrpcClient('PoolService', config.CKV_POOL_TARGET, { ...own, optionNames: named('CKV_POOL_TARGET') });
  const userCache = (own: GrpcClientOptions) =>
    createGrpcClient('UserCacheService', config.CKV_USER_CACHE_TARGET, {
      ...own,
      optionNames: named('CKV_USER_CACHE_TARGET'),
    });
  const own = {
    pool: pool(options),
    userCache: userCache(options),
    ranking: createCollectiveKvClient({
      ...options,
      rankingTarget: config.CKV_RANKING_TARGET,
      optionNames: { ...options.optionNames, rankingTarget: 'CKV_RANKING_TARGET' },
      rankTimeoutMs: 12_000,
    }),
  };
  return {
    ...own,
    async as(token, work) {
      const { tokenFile: _file, ...others } = options;
      const given = { ...others, token };
      const services = { pool: pool(given), userCache: userCache(given) };
      try {
        return await work(services);
      } finally {
        services.pool.close();
        services.userCache.close();
      }
    },
    close() {
      own.pool.close();
      own.userCache.close();
      own.ranking.close();
    },
  };
}
