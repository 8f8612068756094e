import type { LoadedBundle } from '@collectivekv/bundles';
import type { RedisClient } from '@collectivekv/redis-connection';
import type { GrpcClient } from '@collectivekv/rpc';
import { createLogger } from '@collectivekv/service-kit';
import {
  type InteractionProducer,
  openLeaseTable,
  openPartitionQueue,
  openReceipts,
  openRecordEncodings,
  type PartitionQueue,
  waitingCounts,
  warmingVersion,
} from '@collectivekv/update-queue';
import { createJobBatches } from '../../services/updater/src/batches/job-batches.js';
import { createLateCalls } from '../../services/updater/src/batches/late-calls.js';
import { createRetryWhileHeld } from '../../services/updater/src/batches/retry-while-held.js';
import type { UpdaterMetrics } from '../../services/updater/src/metrics.js';
import { holdPartitions } from '../../services/updater/src/partitions/held-partitions.js';
import { createPartitionLeases } from '../../services/updater/src/partitions/partition-leases.js';
import { createRecordWriter } from '../../services/updater/src/records/record-writer.js';
import { startUpdater, type Updater } from '../../services/updater/src/updater.js';
import { createWarmer } from '../../services/updater/src/warming/warmer.js';
import { PARTITION_COUNT } from './feed.js';
import { timersPromises } from './virtual-time.js';

/** Begins every key. */
export const KEY_PREFIX = 'ckv';
const log = createLogger('model', 'silent');

/** Starts an updater with the parts that its `main.ts` gives it. Returns it, and its name among the members. */
export function startModelUpdater(parts: {
  readonly name: string;
  readonly client: RedisClient;
  readonly producer: InteractionProducer;
  readonly bundles: readonly LoadedBundle[];
  readonly userCache: GrpcClient<'UserCacheService'>;
  readonly metrics: UpdaterMetrics;
  /** Receives each opening of a partition. */
  readonly onOpened: (queue: PartitionQueue) => void;
}): { readonly updater: Updater; readonly member: string } {
  const { name, client, producer, bundles, userCache, metrics, onOpened } = parts;
  const leases = createPartitionLeases(openLeaseTable(client, KEY_PREFIX, PARTITION_COUNT));
  const lateCalls = createLateCalls();
  const stopping = new AbortController();
  const { signal } = stopping;
  const writer = createRecordWriter({
    bundles: { all: () => bundles, hold: () => () => undefined },
    recordEncodings: openRecordEncodings(client, KEY_PREFIX),
    userCache,
    batchSize: 64,
    concurrency: 2,
  });
  let openingCount = 0;
  const updater = startUpdater({
    able: Promise.resolve(),
    holdPartitions: () =>
      holdPartitions({
        leases,
        openPartition(term) {
          const token = `${name}, opening ${openingCount++}`;
          const queue = openPartitionQueue({ client, keyPrefix: KEY_PREFIX, term, token });
          onOpened(queue);
          return queue;
        },
        latePassed: lateCalls.passed,
        onHeld: () => undefined,
        log,
      }),
    waitingCounts: (partitions) => waitingCounts(client, KEY_PREFIX, partitions),
    arrivals: { wait: (_, timeoutMs) => timersPromises.setTimeout(timeoutMs) },
    batches: createJobBatches({
      producer,
      partitionCount: PARTITION_COUNT,
      receipts: receiptsOf(client),
      writer,
      lateCalls,
      metrics,
      log,
      signal,
    }),
    warmer: createWarmer({
      writer,
      retryWhileHeld: createRetryWhileHeld({ metrics, log, signal }),
      lateCalls,
      signal,
      ratePerS: 1_000,
      metrics,
      log,
    }),
    warmingVersion: () => warmingVersion(client, KEY_PREFIX),
    writable: () => bundles.map(({ model }) => model.encodingId),
    mayBeLate: lateCalls.any,
    onWaiting: () => undefined,
    onLogged: () => undefined,
    log,
    stopping,
  });
  return { updater, member: leases.member };
}

/** Opens the receipts of erasures. */
export function receiptsOf(client: RedisClient) {
  return openReceipts({ client, keyPrefix: KEY_PREFIX, ttlS: 3_600 });
}
