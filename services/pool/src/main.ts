import { bundleTrustFrom } from '@collectivekv/bundles';
import { WHOLE_SHARE_BP } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import { runService, watchGraphRuns } from '@collectivekv/service-kit';
import { createActivationFile, removeLeftActivations } from './activation.js';
import { findBundleDirs, findIgnoredDirs } from './bundle-dirs.js';
import { createBundleShelf } from './bundle-shelf.js';
import { loadConfig } from './config.js';
import { createFollowerReports } from './follower-reports.js';
import { createPoolHandlers } from './handlers.js';
import { createHealthMetrics } from './health-metrics.js';
import { createPoolMetrics } from './metrics.js';
import { createPoolHealth } from './pool-health.js';

/** How often the activation of other replicas is read. */
const REFRESH_MS = 1_000;

await runService({
  name: 'pool',
  config: () => loadConfig(process.env),
  async start(config, { log, metrics, server, onFileOutcome, onClose, setReady }) {
    const engine = await createEngine({
      provider: config.CKV_PROVIDER,
      deviceIndex: config.CKV_DEVICE_INDEX,
      precision: config.CKV_PRECISION,
      workerCount: config.CKV_WORKERS,
      threadsPerWorker: 1,
      spare: true,
      queueLimit: config.CKV_QUEUE_LIMIT,
      onWorkerDeath: (err) => log.error({ err }, 'a graph worker died and is replaced'),
      onRun: watchGraphRuns(metrics),
    });
    onClose('engine', engine.close);
    const trust = bundleTrustFrom(config, onFileOutcome);
    onClose('bundle trust', () => trust?.close());
    await removeLeftActivations(config.CKV_STATE_DIR);
    const ignored = await findIgnoredDirs(config.CKV_BUNDLES_DIR);
    if (ignored.length > 0)
      log.warn(
        { dirs: ignored },
        "CKV_BUNDLES_DIR is a bundle's own folder, and the bundles inside it are ignored; name a folder of bundles",
      );
    const shelf = await createBundleShelf({
      dirs: await findBundleDirs(config.CKV_BUNDLES_DIR),
      findDirs: () => findBundleDirs(config.CKV_BUNDLES_DIR),
      preferred: config.CKV_ACTIVE_BUNDLE,
      engine,
      activationFile: createActivationFile(config.CKV_STATE_DIR),
      privateDir: config.CKV_STATE_DIR,
      trust,
      onLeftOut: ({ dir, problem }) => log.error({ dir, problem }, 'a bundle is left out'),
      onLacking: (bundleId) =>
        log.error({ bundleId }, 'another replica named a bundle that this one lacks; copy it to CKV_BUNDLES_DIR here'),
      onLoaded: ({ model }) => log.info({ bundleId: model.id, name: model.manifest.name }, 'bundle verified'),
    });
    onClose('bundles', shelf.close);
    const refresh = setInterval(() => {
      shelf.refresh().catch((err) => log.warn({ err }, 'the activation file cannot be read'));
    }, REFRESH_MS);
    onClose('refresh', () => clearInterval(refresh));
    const health = createPoolHealth(shelf, config.CKV_HEALTH_WINDOW_S * 1_000);
    createHealthMetrics(metrics, shelf, health);
    const reports = createFollowerReports();
    const watching = new AbortController();
    onClose('watching', () => watching.abort());
    void (async () => {
      for await (const { bundles } of shelf.watch(watching.signal)) {
        reports.keepOnly(bundles);
      }
    })();
    server.add(
      'PoolService',
      createPoolHandlers({
        shelf,
        provider: config.CKV_PROVIDER,
        device: engine.device,
        precision: engine.precision,
        metrics: createPoolMetrics(metrics, engine, shelf),
        reports,
        health,
        minCoverageBp: Math.round(config.CKV_MIN_COVERAGE * WHOLE_SHARE_BP),
      }),
    );
    setReady(true);
  },
});
