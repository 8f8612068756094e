import { randomUUID } from 'node:crypto';
import { bundleTrustFrom, followBundles, reportBundles } from '@collectivekv/bundles';
import { createEngine } from '@collectivekv/engine';
import {
  closeRedis,
  connectRedis,
  observeRedis,
  onConnectionClosed,
  redisTlsFrom,
} from '@collectivekv/redis-connection';
import { createGrpcClient } from '@collectivekv/rpc';
import { askGauge, runService, watchFollowedBundles, watchGraphRuns, watchRedisTimes } from '@collectivekv/service-kit';
import {
  createInteractionProducer,
  isBeingWarmed,
  oldestWaitingMs,
  openEncodingClaims,
  openLeaseTable,
  openPartitionQueue,
  openReceipts,
  openRecordEncodings,
  openWarmings,
  waitingCounts,
  warmingVersion,
  watchArrivals,
} from '@collectivekv/update-queue';
import { createJobBatches } from './batches/job-batches.js';
import { createLateCalls } from './batches/late-calls.js';
import { createRetryWhileHeld } from './batches/retry-while-held.js';
import { eventLogAgeMs, loadConfig } from './config.js';
import { createInteractionHandlers } from './handlers.js';
import { createUpdaterMetrics } from './metrics.js';
import { holdPartitions } from './partitions/held-partitions.js';
import { createPartitionLeases } from './partitions/partition-leases.js';
import { watchQueueRedis } from './queue-redis.js';
import { allLoaded } from './records/all-loaded.js';
import { watchOldRecords } from './records/old-records.js';
import { createRecordWriter } from './records/record-writer.js';
import { createSlotReports } from './records/slot-reports.js';
import { startUpdater } from './updater.js';
import { createWarmer } from './warming/warmer.js';

/** How long the updater waits for bundles beside the active one before it takes jobs. */
const LOAD_PATIENCE_MS = 30_000;

await runService({
  name: 'updater',
  config: () => loadConfig(process.env),
  async start(config, { log, metrics, server, clientOptions, onFileOutcome, onClose, setReady }) {
    const { CKV_KEY_PREFIX: keyPrefix, CKV_PARTITIONS: partitionCount } = config;
    const client = connectRedis(config.CKV_QUEUE_REDIS_URL, {
      field: 'CKV_QUEUE_REDIS_URL',
      name: 'ckv-updater',
      whenAway: 'fail',
      onError: (error) => log.warn({ problem: error.message }, 'Redis connection'),
      tls: redisTlsFrom(config, onFileOutcome),
      confirmReplicas: config.CKV_CONFIRM_REPLICAS,
    });
    onClose('redis', () => closeRedis(client));
    watchRedisTimes(metrics, observeRedis);
    const blocking = connectRedis(config.CKV_QUEUE_REDIS_URL, {
      field: 'CKV_QUEUE_REDIS_URL',
      name: 'ckv-updater-arrivals',
      whenAway: 'fail',
      onError: () => undefined, // the other connection logs it
      tls: redisTlsFrom(config, () => undefined),
    });
    onClose('redis for arrivals', () => closeRedis(blocking));
    // The service accepts interactions while Redis can hold them, with or without a bundle.
    const queueRedis = watchQueueRedis({ client, keyPrefix, onTried: setReady, log });
    onClose('trials of redis', queueRedis.close);
    await queueRedis.tried;
    const producer = createInteractionProducer({
      client,
      keyPrefix,
      partitionCount,
      maxWaitingJobs: config.CKV_MAX_WAITING_JOBS,
    });
    onClose('producer', producer.close);
    const receipts = openReceipts({ client, keyPrefix, ttlS: config.CKV_RECEIPT_TTL_S });

    const engine = await createEngine({
      provider: config.CKV_PROVIDER,
      deviceIndex: config.CKV_DEVICE_INDEX,
      precision: config.CKV_PRECISION,
      workerCount: config.CKV_WORKERS,
      threadsPerWorker: config.CKV_THREADS_PER_WORKER,
      queueLimit: 256,
      onWorkerDeath: (err) => log.error({ err }, 'a graph worker died and is replaced'),
      onRun: watchGraphRuns(metrics),
    });
    onClose('engine', engine.close);
    const pool = createGrpcClient('PoolService', config.CKV_POOL_TARGET, clientOptions);
    onClose('pool client', pool.close);
    const userCache = createGrpcClient('UserCacheService', config.CKV_USER_CACHE_TARGET, clientOptions);
    onClose('user-cache client', userCache.close);
    const trust = bundleTrustFrom(config, onFileOutcome);
    onClose('bundle trust', () => trust?.close());
    const bundles = followBundles({ pool, cacheDir: config.CKV_CACHE_DIR, engine, graphs: ['encode'], trust, log });
    onClose('bundles', bundles.close);
    watchFollowedBundles(metrics, bundles);
    onClose('reports', reportBundles({ pool, bundles, service: 'updater' }));

    const eventLog = { ageMs: eventLogAgeMs(config.CKV_EVENT_LOG), maxEvents: config.CKV_EVENT_LOG_MAX_EVENTS };
    const recordEncodings = openRecordEncodings(client, keyPrefix);
    const graceMs = config.CKV_OLD_RECORDS_GRACE_S * 1_000;
    const old = {
      bundles,
      recordEncodings,
      claims: openEncodingClaims(client, keyPrefix),
      isBeingWarmed: (encodingId: string) => isBeingWarmed(client, keyPrefix, encodingId),
      forgetFinished: openWarmings({ client, keyPrefix, partitionCount }).end,
    };
    onClose('old records', watchOldRecords({ ...old, userCache, graceMs, log }));
    const slotReports = createSlotReports({ pool, log });
    onClose('slot reports', slotReports.close);
    const leases = createPartitionLeases(openLeaseTable(client, keyPrefix, partitionCount));
    onConnectionClosed(client, leases.endFences);
    const updaterMetrics = createUpdaterMetrics(metrics);
    const oldest = {
      name: 'ckv_oldest_waiting_job_seconds',
      help: 'Age of the oldest job that waits in any partition; every updater tells the same',
    };
    askGauge(metrics, oldest, async () => (await oldestWaitingMs(client, keyPrefix, partitionCount)) / 1_000);
    const stopping = new AbortController();
    const lateCalls = createLateCalls();
    const { signal } = stopping;
    const written = {
      bundles,
      recordEncodings,
      userCache,
      batchSize: config.CKV_BATCH_INTERACTIONS,
      concurrency: 2 * config.CKV_WORKERS,
    };
    const updater = startUpdater({
      able: allLoaded({ bundles, patienceMs: LOAD_PATIENCE_MS, log, signal }),
      holdPartitions: () =>
        holdPartitions({
          leases,
          openPartition: (term) => openPartitionQueue({ client, keyPrefix, term, token: randomUUID(), eventLog }),
          latePassed: lateCalls.passed,
          onHeld: (count) => updaterMetrics.heldPartitions.set(count),
          log,
        }),
      waitingCounts: (partitions) => waitingCounts(client, keyPrefix, partitions),
      arrivals: watchArrivals(blocking, keyPrefix),
      batches: createJobBatches({
        producer,
        partitionCount,
        writer: createRecordWriter({ ...written, onEncoded: slotReports.observe }),
        receipts,
        lateCalls,
        metrics: updaterMetrics,
        log,
        signal,
      }),
      warmer: createWarmer({
        writer: createRecordWriter(written), // old interactions are no recent positions
        retryWhileHeld: createRetryWhileHeld({ metrics: updaterMetrics, log, signal }),
        lateCalls,
        signal,
        ratePerS: config.CKV_BACKFILL_RATE,
        metrics: updaterMetrics,
        log,
      }),
      warmingVersion: () => warmingVersion(client, keyPrefix),
      writable: () => [...new Set(bundles.all().map(({ model }) => model.encodingId))],
      mayBeLate: lateCalls.any,
      onWaiting: (count) => updaterMetrics.waitingJobs.set(count),
      onLogged: (count) => updaterMetrics.loggedEvents.set(count),
      log,
      stopping,
    });
    onClose('updater', updater.stop);
    server.add('InteractionService', createInteractionHandlers(producer, receipts, queueRedis));
  },
});
