import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileOutcome } from '@collectivekv/credentials';
import { CkvError } from '@collectivekv/domain';
import type { GrpcClientOptions } from '@collectivekv/rpc';
import type { GrpcServer } from '@collectivekv/rpc/server';
import { type CommonConfig, ConfigError } from './config.js';
import { createFileReports } from './file-reports.js';
import { clientOptionsOf, createServiceServer, type ServerParts } from './grpc-options.js';
import { relaxHeapGrowth } from './heap-growth.js';
import { createLogger, type Logger } from './log.js';
import { createMetrics, type Metrics, serveMetrics } from './metrics.js';
import { startTracing } from './start-tracing.js';

/**
 * The life of a service:
 * - `starting`: it connects and loads. The gRPC server does not listen yet.
 * - `ready`: the gRPC server listens. Health follows `setReady`.
 * - `draining`: it refuses new calls, finishes the calls in flight, and closes.
 * - `stopped`: everything is closed. The process exits.
 */
export type ServiceState = 'starting' | 'ready' | 'draining' | 'stopped';

/** A server of a service: a gRPC server, or one of pages. */
export interface ServiceServer {
  /** Listens, and returns the address with the port that it got. Throws if the address is in use. */
  start(): Promise<{ address: string }>;
  /** Says whether the service can do its work. */
  setServing(serving: boolean): void;
  /** Refuses new calls, waits at most `graceMs` for the calls in flight, then ends them. */
  drain(graceMs: number): Promise<void>;
}

/** The parts that a composition root gets. */
export interface ServiceContext<S extends ServiceServer = GrpcServer> {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly server: S;
  /** Options of the calls to other services. */
  readonly clientOptions: GrpcClientOptions;
  /** Logs what became of changed certificate and token files. */
  readonly onFileOutcome: (outcome: FileOutcome) => void;
  /** Registers a step of shutdown. The steps run in reverse order after the server has drained. */
  onClose(name: string, close: () => unknown): void;
  /** Sets whether the service can do its work now. False at first. Health and /readyz follow. */
  setReady(ready: boolean): void;
}

/** Options of {@link runService}. */
export interface ServiceOptions<C extends CommonConfig, S extends ServiceServer = GrpcServer> {
  readonly name: string;
  /** Reads the environment. May throw a ConfigError. */
  readonly config: () => Readonly<C>;
  /** Connects the parts of the service and adds its handlers. The server starts afterwards. */
  readonly start: (config: Readonly<C>, context: ServiceContext<S>) => Promise<void>;
}

/** Creates a service's server. May throw a ConfigError or an invalid_request. */
export type CreateServer<C extends CommonConfig, S extends ServiceServer> = (
  config: Readonly<C>,
  parts: ServerParts,
) => S;

/** Longest time for one step of shutdown. */
const STEP_TIMEOUT_MS = 10_000;

/**
 * Runs a service until SIGTERM, SIGINT or, with CKV_STOP_WITH_STDIN, the end of stdin. Then it reports not ready, waits
 * the drain delay, finishes the calls in flight within the grace time, and closes everything in reverse order. It
 * prints one JSON line on stdout when its servers listen.
 */
export async function runService<C extends CommonConfig>(options: ServiceOptions<C>): Promise<void> {
  return runServer(options, createServiceServer);
}

/** Runs a service, as {@link runService} does, with a server of another kind. */
export async function runServer<C extends CommonConfig, S extends ServiceServer>(
  { name, config: readConfig, start }: ServiceOptions<C, S>,
  createServer: CreateServer<C, S>,
): Promise<void> {
  relaxHeapGrowth();
  const config = orExit(readConfig);
  const log = createLogger(name, config.CKV_LOG_LEVEL);
  const metrics = createMetrics(name);
  const steps: { name: string; close: () => unknown }[] = [];
  let state: ServiceState = 'starting';
  const isStarting = () => state === 'starting';
  let able = false;

  process.on('unhandledRejection', (reason) => {
    log.fatal({ err: reason }, 'unhandled rejection');
    process.exit(1);
  });

  const stop = async (why: string, exitCode = 0): Promise<void> => {
    if (state === 'draining' || state === 'stopped') return;
    state = 'draining';
    log.info({ why }, 'draining');
    server.setServing(false);
    await sleep(config.CKV_DRAIN_DELAY_MS);
    await server.drain(config.CKV_GRACE_MS);
    for (const step of steps.reverse()) await closeStep(step, log);
    state = 'stopped';
    log.info('stopped');
    process.exit(exitCode);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));
  if (config.CKV_STOP_WITH_STDIN) process.stdin.on('end', () => void stop('stdin ended')).resume();

  const onFileOutcome = createFileReports(log, metrics);
  const server = orExit(() => createServer(config, { log, metrics, onFileOutcome }));
  const context: ServiceContext<S> = {
    log,
    metrics,
    server,
    clientOptions: clientOptionsOf(config, onFileOutcome),
    onFileOutcome,
    onClose: (step, close) => steps.push({ name: step, close }),
    setReady(ready) {
      if (ready !== able) log.info({ ready }, ready ? 'ready' : 'not ready');
      able = ready;
      if (state === 'ready') server.setServing(ready);
    },
  };
  try {
    const probes = await serveMetrics(metrics, {
      bind: config.CKV_METRICS_BIND,
      allowInsecure: config.CKV_ALLOW_INSECURE || config.CKV_METRICS_ALLOW_INSECURE,
      isReady: () => state === 'ready' && able,
    });
    context.onClose('metrics', probes.close);
    const tracing = await startTracing(name, process.env, log);
    context.onClose('tracing', () => tracing?.close());
    await start(config, context);
    if (!isStarting()) return; // a signal came: `stop` closes what was started
    const { address } = await server.start();
    if (!isStarting()) return;
    state = 'ready';
    server.setServing(able);
    writeSync(1, `${JSON.stringify({ ready: true, service: name, address, metricsAddress: probes.address })}\n`);
  } catch (error) {
    if (error instanceof ConfigError || error instanceof CkvError)
      writeSync(2, `${name} cannot start: ${error.message}\n`);
    else log.fatal({ err: error }, 'cannot start');
    await stop('failed to start', 1);
  }
}

/** Runs one step of shutdown. A failure is logged and does not stop the others. */
async function closeStep(step: { name: string; close: () => unknown }, log: Logger): Promise<void> {
  const startedMs = performance.now();
  try {
    const timeout = sleep(STEP_TIMEOUT_MS, undefined, { ref: false }).then(() => {
      throw new Error(`${step.name} did not close within ${STEP_TIMEOUT_MS} ms`);
    });
    await Promise.race([Promise.resolve().then(step.close), timeout]);
    log.debug({ step: step.name, tookMs: performance.now() - startedMs }, 'closed');
  } catch (err) {
    log.error({ step: step.name, err }, 'could not close');
  }
}

/** Returns the result of `work`. If the configuration is wrong, prints why and exits. */
function orExit<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof CkvError)) throw error;
    writeSync(2, `${error.message}\n`);
    process.exit(1);
  }
}
