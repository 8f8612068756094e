import { type RedisClient, readEviction, repeatTrial, tryWrite } from '@collectivekv/redis-connection';
import type { Logger } from '@collectivekv/service-kit';
import type { UserCacheMetrics } from './metrics.js';

/**
 * Tries every second whether Redis takes writes. Warns if Redis may evict records, and counts the keys that it evicted.
 * A Redis that evicts is allowed here: a user whose record is evicted loses the history, and the service goes on.
 * @returns a function that ends the trials
 */
export function watchRecordsRedis({
  client,
  keyPrefix,
  onTried,
  metrics,
  log,
}: {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  /** Called with the outcome of every trial: true if Redis takes writes. */
  readonly onTried: (able: boolean) => void;
  readonly metrics: Pick<UserCacheMetrics, 'observeEvictions'>;
  readonly log: Pick<Logger, 'warn'>;
}): () => void {
  let reportedPolicies = '';
  let reportedEvictions = false;

  async function trial(): Promise<void> {
    await tryWrite(client, `${keyPrefix}:tried-write`);
    const eviction = await readEviction(client);
    if (!eviction) return;
    metrics.observeEvictions(eviction.evictedKeyCount);
    const policies = eviction.evictingPolicies.join(', ');
    if (policies !== '' && policies !== reportedPolicies) log.warn({ problem: policyProblem(policies) }, 'Redis');
    reportedPolicies = policies;
    if (eviction.evictedKeyCount === 0 || reportedEvictions) return;
    reportedEvictions = true; // one line; the metric has the count
    const problem = 'Redis has evicted keys, as ckv_redis_evicted_keys_total counts; give it more memory';
    log.warn({ problem }, 'Redis');
  }

  return repeatTrial(client, trial, {
    onTried: (problem) => onTried(problem === undefined),
    onRefused: ({ message }) => log.warn({ problem: message }, 'Redis takes no writes'),
    onRefusedNoMore: () => log.warn('Redis takes writes again'),
  });
}

function policyProblem(policies: string): string {
  const remedy = policies.includes('allkeys')
    ? 'set maxmemory-policy noeviction, or volatile-lru: allkeys policies also evict the list of encodings, without which users are not deleted'
    : 'set maxmemory-policy noeviction if no history may be lost';
  return `CKV_REDIS_URL: at its memory limit this Redis evicts records, since its maxmemory-policy is ${policies}; ${remedy}`;
}
