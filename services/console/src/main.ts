import { fileURLToPath } from 'node:url';
import { observeRedis } from '@collectivekv/redis-connection';
import { asksForTokens, runServer, watchRedisTimes } from '@collectivekv/service-kit';
import { createChanges } from './changes.js';
import { loadConfig } from './config.js';
import { watchFleet } from './fleet/fleet.js';
import { parseMetricsTargets } from './fleet/targets.js';
import { readPageFiles } from './http/page-files.js';
import { createPageServer } from './http/page-server.js';
import { createConsoleMetrics } from './metrics.js';
import { openQueue } from './queue-view.js';
import { createRoutes } from './routes.js';
import { openUpstream } from './upstream.js';

await runServer(
  {
    name: 'console',
    config: () => loadConfig(process.env),
    async start(config, { log, metrics, server, clientOptions, onClose, setReady }) {
      watchRedisTimes(metrics, observeRedis);
      const upstream = openUpstream(config, clientOptions);
      onClose('upstream', upstream.close);
      const { onQueueError, onLook } = createConsoleMetrics(metrics, log);
      const queue = openQueue(config, onQueueError);
      onClose('queue', () => queue?.close());
      const fleet = watchFleet({
        targets: parseMetricsTargets(config.CKV_CONSOLE_METRICS).targets,
        everyMs: config.CKV_CONSOLE_LOOK_EVERY_S * 1_000,
        onLook,
      });
      onClose('fleet', fleet.close);
      const session = {
        tokens: asksForTokens(config),
        writes: config.CKV_CONSOLE_WRITES,
        queue: queue !== undefined,
      };
      const changes = createChanges({ upstream, queue, log });
      const files = readPageFiles(fileURLToPath(new URL('page', import.meta.url)));
      server.serve(files, createRoutes({ session, fleet, upstream, queue, changes }));
      setReady(true);
    },
  },
  createPageServer,
);
