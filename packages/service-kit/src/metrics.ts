import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { requireSafeBind } from './bind.js';
import { METRICS_REMEDY, splitBind } from './loopback.js';

/** A service's metrics. */
export interface Metrics {
  readonly registry: Registry;
  /** Time from a request reaching its handler to its answer. `code` is the gRPC status name. */
  readonly rpcSeconds: Histogram<'rpc' | 'code'>;
}

/** Buckets of a histogram of times, seconds: 0.25 ms to 10 s. */
export const LATENCY_BUCKETS = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Creates the registry with the metrics that every service has. */
export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  const rpcSeconds = new Histogram({
    name: 'ckv_rpc_duration_seconds',
    help: 'Time from a request reaching its handler to its answer',
    labelNames: ['rpc', 'code'] as const,
    buckets: LATENCY_BUCKETS,
    registers: [registry],
  });
  return { registry, rpcSeconds };
}

/** Longest time for the answer of another system: a scrape must not miss its own deadline. */
const ASK_MS = 1_000;

/** Registers a gauge that calls `read` for every scrape. */
export function watchGauge({ registry }: Metrics, gauge: { name: string; help: string }, read: () => number): void {
  new Gauge({
    ...gauge,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

/**
 * Registers a gauge that asks another system for every scrape. While the system does not answer within a second, the
 * gauge is not a number, and the other metrics are there.
 */
export function askGauge(
  { registry }: Metrics,
  gauge: { name: string; help: string },
  ask: () => Promise<number>,
): void {
  new Gauge({
    ...gauge,
    registers: [registry],
    async collect() {
      const late = sleep(ASK_MS, Number.NaN, { ref: false });
      this.set(await Promise.race([ask().catch(() => Number.NaN), late]));
    },
  });
}

/** HTTP server of /metrics, /livez and /readyz. */
export interface MetricsServer {
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Serves metrics and probes.
 * @throws ConfigError for an address beyond loopback, unless `allowInsecure`: metrics are not for everybody
 */
export async function serveMetrics(
  metrics: Metrics,
  options: { bind: string; allowInsecure: boolean; isReady: () => boolean },
): Promise<MetricsServer> {
  requireSafeBind({
    variable: 'CKV_METRICS_BIND',
    bind: options.bind,
    guarded: options.allowInsecure,
    remedy: METRICS_REMEDY,
  });
  const server = createServer(async (request, response) => {
    if (request.url === '/livez') return void response.end('ok\n');
    if (request.url === '/readyz') {
      response.statusCode = options.isReady() ? 200 : 503;
      return void response.end(options.isReady() ? 'ready\n' : 'not ready\n');
    }
    if (request.url === '/metrics') {
      response.setHeader('content-type', metrics.registry.contentType);
      return void response.end(await metrics.registry.metrics());
    }
    response.statusCode = 404;
    response.end('try /metrics, /livez or /readyz\n');
  });
  const { host, port } = splitBind(options.bind);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return {
    address: `${host}:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
