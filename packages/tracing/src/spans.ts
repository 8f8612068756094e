import {
  type Attributes,
  type Context,
  context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { readTraceparent } from './traceparent.js';

/** What a span within this process stands for. */
export type HopKind = 'internal' | 'client' | 'producer';

/** A span to record. */
export interface Hop {
  readonly name: string;
  /** Default `internal`. */
  readonly kind?: HopKind;
  /** Without user ids and items. */
  readonly attributes?: Attributes;
}

/** A request from another process. */
export interface IncomingCall {
  readonly name: string;
  /** The caller's span, as a traceparent; empty without one. */
  readonly traceparent: string;
  readonly attributes?: Attributes;
}

const KINDS: Record<HopKind, SpanKind> = {
  internal: SpanKind.INTERNAL,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
};

let starts = false;

/**
 * Makes this process start spans of its own, for calls and jobs that come in. A process that never calls it, such as a
 * feed backend with the SDK, records spans only inside a span that it has started itself.
 */
export function startSpansOfCalls(): void {
  starts = true;
}

/** True if calls and jobs that come in get spans. */
export function startsSpans(): boolean {
  return starts;
}

/** Runs some work in a span below the one in which this code runs. Outside a recorded span it only runs the work. */
export function inSpan<T>(hop: Hop | (() => Hop), work: () => Promise<T>): Promise<T> {
  if (!trace.getActiveSpan()?.isRecording()) return work();
  const { name, kind = 'internal', attributes = {} } = typeof hop === 'function' ? hop() : hop;
  const parent = context.active();
  return run(tracer().startSpan(name, { kind: KINDS[kind], attributes }, parent), parent, work);
}

/** Runs the work of a call in a span below the caller's. The sampler decides whether it is recorded. */
export function inSpanOfCall<T>(call: () => IncomingCall, work: () => Promise<T>): Promise<T> {
  if (!starts) return work();
  const { name, traceparent, attributes = {} } = call();
  const parent = below(readTraceparent(traceparent));
  return run(tracer().startSpan(name, { kind: SpanKind.SERVER, attributes }, parent), parent, work);
}

/**
 * Runs the work on jobs together. Each job that is traced gets a span below the one that queued it, so that its trace is
 * whole. The work runs in the first of these spans, and the others link to it.
 */
export async function inSpansOfJobs<T>(
  name: string,
  traceparents: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  const queued = starts ? traceparents.map(readTraceparent).filter(isSampled) : [];
  const [first, ...others] = queued;
  if (!first) return work();
  const parent = below(first);
  const kind = SpanKind.CONSUMER;
  const span = tracer().startSpan(name, { kind, links: others.map(linkTo) }, parent);
  const linked = others.map((other) =>
    tracer().startSpan(name, { kind, links: [linkTo(span.spanContext())] }, below(other)),
  );
  try {
    return await run(span, parent, work);
  } finally {
    for (const other of linked) other.end();
  }
}

/** Adds attributes to the span in which this code runs, if it is recorded. */
export function noteInSpan(attributes: () => Attributes): void {
  const span = trace.getActiveSpan();
  if (span?.isRecording()) span.setAttributes(attributes());
}

async function run<T>(span: Span, parent: Context, work: () => Promise<T>): Promise<T> {
  try {
    return await context.with(trace.setSpan(parent, span), work);
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR });
    const { reason, name } = error as { reason?: unknown; name?: unknown };
    span.setAttribute('error.type', String(reason ?? name));
    throw error;
  } finally {
    span.end();
  }
}

function below(span: SpanContext | undefined): Context {
  return span ? trace.setSpanContext(ROOT_CONTEXT, span) : ROOT_CONTEXT;
}

function linkTo(span: SpanContext): Link {
  return { context: span };
}

function isSampled(span: SpanContext | undefined): span is SpanContext {
  return span !== undefined && (span.traceFlags & TraceFlags.SAMPLED) !== 0;
}

function tracer(): Tracer {
  return trace.getTracer('collectivekv');
}
