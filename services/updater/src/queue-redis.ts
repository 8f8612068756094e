import { CkvError } from '@collectivekv/domain';
import { type RedisClient, readEviction, repeatTrial, tryWrite } from '@collectivekv/redis-connection';
import type { Logger } from '@collectivekv/service-kit';
import { triedWriteKey } from '@collectivekv/update-queue';

/** What the service knows of the Redis of its queue. */
export interface QueueRedis {
  /**
   * Resolves when Redis was tried for the first time, or could not be reached.
   * @throws dependency_unavailable if Redis may evict keys: the service must not start on it
   */
  readonly tried: Promise<void>;
  /** @throws dependency_unavailable if the last trial found that Redis may evict keys: it would lose interactions */
  requireNoEviction(): void;
  /** Ends the trials. */
  close(): void;
}

/** Tries every second whether Redis takes writes and never evicts. */
export function watchQueueRedis({
  client,
  keyPrefix,
  onTried,
  log,
}: {
  readonly client: RedisClient;
  readonly keyPrefix: string;
  /** Called with the outcome of every trial: true if Redis can hold interactions. */
  readonly onTried: (able: boolean) => void;
  readonly log: Pick<Logger, 'warn' | 'error'>;
}): QueueRedis {
  let evicting: CkvError | undefined;
  let settleTried = () => {};
  const firstOutcome = new Promise<void>((resolve) => {
    settleTried = resolve;
  });
  let reported = '';
  /** Logs a problem once, until another one or none follows. */
  const report = (level: 'warn' | 'error', problem: string) => {
    if (problem !== reported && problem !== '') log[level]({ problem }, 'the queue is not safe in this Redis');
    reported = problem;
  };

  async function trial(): Promise<void> {
    await tryWrite(client, triedWriteKey(keyPrefix));
    const eviction = await readEviction(client);
    const [policy] = eviction?.evictingPolicies ?? [];
    evicting = policy === undefined ? undefined : evictionError(policy);
    if (evicting) report('error', evicting.message);
    else report('warn', eviction ? '' : 'its eviction is unknown: the user of Redis lacks the access rule +info');
    if (evicting) throw evicting;
  }

  const close = repeatTrial(client, trial, {
    onTried(problem) {
      onTried(problem === undefined);
      settleTried();
    },
    onRefused: ({ message }) => log.warn({ problem: message }, 'Redis takes no writes'),
    onRefusedNoMore: () => log.warn('Redis takes writes again'),
  });
  client.once('error', settleTried);

  return {
    tried: firstOutcome.then(requireNoEviction),
    requireNoEviction,
    close,
  };

  function requireNoEviction(): void {
    if (evicting) throw evicting;
  }
}

function evictionError(policy: string): CkvError {
  return new CkvError(
    'dependency_unavailable',
    `CKV_QUEUE_REDIS_URL: this Redis may evict accepted interactions, since its maxmemory-policy is ${policy}; set maxmemory-policy noeviction`,
    { retryAfterMs: 1_000 },
  );
}
