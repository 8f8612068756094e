import { closeRedis, connectRedis, observeRedis, redisTlsFrom } from '@collectivekv/redis-connection';
import { runService, watchRedisTimes } from '@collectivekv/service-kit';
import { createRedisUserStore } from '@collectivekv/user-store';
import { loadConfig } from './config.js';
import { createUserCacheHandlers } from './handlers.js';
import { createUserCacheMetrics } from './metrics.js';
import { watchRecordsRedis } from './records-redis.js';

await runService({
  name: 'user-cache',
  config: () => loadConfig(process.env),
  async start(config, { log, metrics, server, onFileOutcome, onClose, setReady }) {
    const client = connectRedis(config.CKV_REDIS_URL, {
      field: 'CKV_REDIS_URL',
      name: 'ckv-user-cache',
      whenAway: 'fail',
      onError: (error) => log.warn({ problem: error.message }, 'Redis connection'),
      tls: redisTlsFrom(config, onFileOutcome),
      confirmReplicas: config.CKV_CONFIRM_REPLICAS,
    });
    onClose('redis', () => closeRedis(client));
    watchRedisTimes(metrics, observeRedis);
    const userCacheMetrics = createUserCacheMetrics(metrics);
    const endTrials = watchRecordsRedis({
      client,
      keyPrefix: config.CKV_KEY_PREFIX,
      onTried: setReady,
      metrics: userCacheMetrics,
      log,
    });
    onClose('trials of redis', endTrials);
    const store = createRedisUserStore({
      client,
      keyPrefix: config.CKV_KEY_PREFIX,
      recordTtlS: config.CKV_RECORD_TTL_S,
    });
    server.add('UserCacheService', createUserCacheHandlers(store, userCacheMetrics), {
      slowMethods: ['Stats', 'DropRecords'],
    });
  },
});
