import { CkvError } from '@collectivekv/domain';
import { closeRedis, connectRedis, redisTlsFrom } from '@collectivekv/redis-connection';
import {
  type EncodingClaims,
  inspectQueue,
  oldestWaitingMs,
  openEncodingClaims,
  openWarmings,
  type Warmings,
} from '@collectivekv/update-queue';
import type { ConsoleConfig } from './config.js';
import type { QueueView } from './views.js';

/** The interaction queue, as the console shows it. */
export interface ShownQueue {
  view(limit: number): Promise<QueueView>;
  /** Puts jobs that were set aside back: the named ones, or all. Returns their number. */
  retry(ids: readonly string[] | undefined): Promise<number>;
  /** What is being built of new encodings, and who changes it. A switch of bundles looks at both. */
  readonly warmings: Pick<Warmings, 'all'>;
  readonly claims: EncodingClaims;
  close(): Promise<void>;
}

/** Opens the queue. It connects in the background, and calls fail while Redis is away. */
export function openQueue(config: ConsoleConfig, onError: (error: Error) => void): ShownQueue | undefined {
  const { CKV_QUEUE_REDIS_URL: url, CKV_KEY_PREFIX: keyPrefix, CKV_PARTITIONS: partitionCount } = config;
  if (url === '') return undefined;
  const tls = redisTlsFrom({ ...config });
  const client = connectRedis(url, {
    field: 'CKV_QUEUE_REDIS_URL',
    name: 'ckv-console',
    whenAway: 'fail',
    onError,
    tls,
  });
  const inspection = inspectQueue({ client, keyPrefix, partitionCount });
  return {
    async view(limit) {
      const [counts, oldestMs, jobs] = await Promise.all([
        inspection.counts(),
        oldestWaitingMs(client, keyPrefix, partitionCount),
        inspection.failed(limit),
      ]);
      const sum = (key: 'waiting' | 'active' | 'failed') => counts.reduce((total, one) => total + one[key], 0);
      return {
        waiting: sum('waiting'),
        active: sum('active'),
        setAside: sum('failed'),
        oldestWaitingMs: oldestMs,
        partitions: counts.map(({ partition, waiting, active, failed }) => {
          return { partition, waiting, active, setAside: failed };
        }),
        // The payload stays where it is: it names users.
        jobs: jobs.map(({ id, partition, name, problem, failedAtMs }) => {
          return { id, partition, kind: name, reason: problem, setAsideAtMs: failedAtMs };
        }),
      };
    },
    retry: (ids) => inspection.retry(ids),
    warmings: openWarmings({ client, keyPrefix, partitionCount }),
    claims: openEncodingClaims(client, keyPrefix),
    async close() {
      await inspection.close();
      closeRedis(client);
    },
  };
}

/** @throws invalid_request if the console does not reach the queue's Redis */
export function requireQueue(queue: ShownQueue | undefined): ShownQueue {
  if (queue) return queue;
  throw new CkvError('invalid_request', 'queue: this console does not reach its Redis; set CKV_QUEUE_REDIS_URL');
}
