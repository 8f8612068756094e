import { setTimeout as sleep } from 'node:timers/promises';
import { startSpansOfCalls } from '@collectivekv/tracing';
import { type DiagLogger, diag } from '@opentelemetry/api';
import { ConfigError } from './config.js';
import type { Logger } from './log.js';

/** The traces of a service, on their way to a collector. */
export interface Tracing {
  /** Sends what is recorded, and ends. */
  close(): Promise<void>;
}

/** Exporters of OTEL_TRACES_EXPORTER. */
const EXPORTERS = ['otlp', 'none'];
/** Protocols of OTEL_EXPORTER_OTLP_PROTOCOL, the default first. */
const PROTOCOLS = ['http/protobuf', 'http/json'];
/** Longest text of a problem: a collector's answer may be in it. */
const MAX_PROBLEM = 300;
/** Longest time for the last spans at shutdown, ms. */
const LAST_SPANS_MS = 2_000;

/**
 * Starts to record spans if OpenTelemetry's own variables name a collector: OTEL_EXPORTER_OTLP_ENDPOINT or
 * OTEL_EXPORTER_OTLP_TRACES_ENDPOINT. Otherwise it loads nothing.
 * @throws ConfigError for an exporter or a protocol that this build lacks
 */
export async function startTracing(service: string, env: NodeJS.ProcessEnv, log: Logger): Promise<Tracing | undefined> {
  if (!isWanted(env)) return undefined;
  const { NodeTracerProvider, BatchSpanProcessor } = await import('@opentelemetry/sdk-trace-node');
  const { OTLPTraceExporter } =
    protocolOf(env) === 'http/json'
      ? await import('@opentelemetry/exporter-trace-otlp-http')
      : await import('@opentelemetry/exporter-trace-otlp-proto');
  const { defaultResource, detectResources, envDetector, resourceFromAttributes } = await import(
    '@opentelemetry/resources'
  );
  diag.setLogger(reportsTo(log));
  const named = resourceFromAttributes({ 'service.name': `ckv-${service}`, 'service.namespace': 'collectivekv' });
  const provider = new NodeTracerProvider({
    resource: defaultResource()
      .merge(named)
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register();
  startSpansOfCalls();
  log.info('tracing');
  return {
    async close() {
      await Promise.race([provider.shutdown(), sleep(LAST_SPANS_MS, undefined, { ref: false })]);
    },
  };
}

function isWanted(env: NodeJS.ProcessEnv): boolean {
  const endpoint = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || env.OTEL_EXPORTER_OTLP_ENDPOINT;
  const exporter = env.OTEL_TRACES_EXPORTER || 'otlp';
  if (!endpoint || env.OTEL_SDK_DISABLED?.toLowerCase() === 'true') return false;
  requireOneOf('OTEL_TRACES_EXPORTER', exporter, EXPORTERS);
  requireOneOf('OTEL_EXPORTER_OTLP_PROTOCOL', protocolOf(env), PROTOCOLS);
  return exporter !== 'none';
}

function protocolOf(env: NodeJS.ProcessEnv): string {
  return env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || env.OTEL_EXPORTER_OTLP_PROTOCOL || String(PROTOCOLS[0]);
}

function requireOneOf(variable: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new ConfigError([`${variable}: "${value}" is not one of ${allowed.join(', ')}; set such a value, or unset it`]);
}

/** What the exporter reports, such as a collector that cannot be reached, as log lines. */
function reportsTo(log: Logger): DiagLogger {
  const warn = (problem: string) => log.warn({ problem: problem.slice(0, MAX_PROBLEM) }, 'tracing');
  const quiet = () => undefined;
  return { error: warn, warn, info: quiet, debug: quiet, verbose: quiet };
}
