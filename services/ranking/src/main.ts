import { bundleTrustFrom, followBundles, reportBundles } from '@collectivekv/bundles';
import { createEngine } from '@collectivekv/engine';
import { observeRedis } from '@collectivekv/redis-connection';
import { createGrpcClient } from '@collectivekv/rpc';
import { runService, watchFollowedBundles, watchGraphRuns, watchRedisTimes } from '@collectivekv/service-kit';
import { createPoolRows } from './attention/pool-rows.js';
import { openAuditor } from './audit/open-auditor.js';
import { watchBatches, watchJoinedUsers } from './batch-metrics.js';
import { openCaptures } from './capture/open-captures.js';
import { loadConfig } from './config.js';
import { createCoverageSampler } from './coverage.js';
import { createExplainer } from './explanation/explainer.js';
import { createRankingHandlers } from './handlers.js';
import { createRankingMetrics } from './metrics.js';
import { admitRanks } from './rank-admission.js';
import { createRanker } from './ranker.js';
import { openRecordReads } from './records/record-reads.js';
import { createRecordSource } from './records/record-source.js';
import { watchRanks } from './watched-ranker.js';

await runService({
  name: 'ranking',
  config: () => loadConfig(process.env),
  async start(config, { log, metrics, server, clientOptions, onFileOutcome, onClose, setReady }) {
    const engine = await createEngine({
      provider: config.CKV_PROVIDER,
      deviceIndex: config.CKV_DEVICE_INDEX,
      precision: config.CKV_PRECISION,
      workerCount: config.CKV_WORKERS,
      threadsPerWorker: config.CKV_THREADS_PER_WORKER,
      spare: true,
      queueLimit: config.CKV_QUEUE_LIMIT,
      onWorkerDeath: (err) => log.error({ err }, 'a graph worker died and is replaced'),
      onRun: watchGraphRuns(metrics),
      onBatch: watchBatches(metrics),
    });
    onClose('engine', engine.close);
    watchRedisTimes(metrics, observeRedis);
    const pool = createGrpcClient('PoolService', config.CKV_POOL_TARGET, clientOptions);
    onClose('pool client', pool.close);
    const records = openRecordReads(config, { log, clientOptions, onFileOutcome });
    onClose('record reads', records.close);
    const remote = config.CKV_POOL_MODE === 'remote';
    const explains = !remote && config.CKV_EXPLAIN_GRAPH;
    const trust = bundleTrustFrom(config, onFileOutcome);
    onClose('bundle trust', () => trust?.close());
    const bundles = followBundles({
      pool,
      cacheDir: config.CKV_CACHE_DIR,
      engine,
      graphs: ['encode', remote ? 'rankKv' : 'rank', ...(explains ? (['explain'] as const) : [])],
      batchUsers: config.CKV_BATCH_USERS,
      trust,
      log,
    });
    onClose('bundles', bundles.close);
    watchFollowedBundles(metrics, bundles);
    watchJoinedUsers(metrics, bundles);
    void bundles.ready.then(() => setReady(true));
    const recordSource = createRecordSource({
      read: records.read,
      nearCacheBytes: config.CKV_NEAR_CACHE_BYTES,
      nearCacheMaxAgeMs: config.CKV_NEAR_CACHE_MAX_AGE_MS,
      timeoutMs: config.CKV_FETCH_TIMEOUT_MS,
    });
    onClose('near cache', recordSource.close);
    const captures = await openCaptures(config, { log, metrics, onFileOutcome });
    onClose('captures', () => captures?.close());
    if (config.CKV_NEAR_CACHE_BYTES > 0 || captures) {
      records.followErasures({
        dropUser(userId) {
          recordSource.dropUser(userId);
          captures?.eraseUser(userId);
        },
        dropAll: recordSource.dropAll,
      });
    }
    const admission = admitRanks({
      engine,
      workerCount: config.CKV_WORKERS,
      mostWaiting: config.CKV_QUEUE_LIMIT,
    });
    const coverage = createCoverageSampler({ bundles, read: records.read, ratePerS: config.CKV_COVERAGE_RATE });
    onClose('reports', reportBundles({ pool, bundles, service: 'ranking', coverage: coverage.counts }));
    const poolRows = remote ? createPoolRows(pool) : undefined;
    const ranker = createRanker({
      bundles,
      records: recordSource,
      poolRows,
      partCandidates: config.CKV_PART_CANDIDATES,
      coverage,
      othersWait: () => admission.waitingCount > 0,
      explainer: createExplainer({ poolRows, explains }),
    });
    const auditor = await openAuditor(config, {
      engine,
      admission,
      followed: bundles,
      pool,
      records: recordSource,
      trust,
      metrics,
      log,
    });
    onClose('auditor', () => auditor?.close());
    const handlers = createRankingHandlers({
      ranker: watchRanks(ranker, { captures, auditor }),
      metrics: createRankingMetrics(metrics, engine, admission),
      admission,
      mostWaiting: config.CKV_QUEUE_LIMIT,
      engine,
      log,
    });
    server.add('RankingService', handlers, { admission, admitsParts: ['RankMany'] });
  },
});
