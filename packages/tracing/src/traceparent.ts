import { isSpanContextValid, type SpanContext, TraceFlags, trace } from '@opentelemetry/api';

/** The form of W3C Trace Context, of version 00 or a later one. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-|$)/;

/**
 * Returns the span in which this code runs, in the form of W3C Trace Context: `00-<trace id>-<span id>-<flags>`. Empty
 * outside a trace.
 */
export function currentTraceparent(): string {
  const span = trace.getActiveSpan()?.spanContext();
  return span && isSpanContextValid(span) ? traceparentOf(span) : '';
}

/** Returns the ids of the span in which this code runs, for log lines. Empty outside a trace. */
export function currentSpanIds(): { trace_id?: string; span_id?: string } {
  const span = trace.getActiveSpan()?.spanContext();
  return span && isSpanContextValid(span) ? { trace_id: span.traceId, span_id: span.spanId } : {};
}

/** As {@link currentTraceparent}, but empty for a span that is not recorded. */
export function recordedTraceparent(): string {
  return trace.getActiveSpan()?.isRecording() ? currentTraceparent() : '';
}

/** Returns the span of a traceparent. Undefined for any other text: as the standard says, it is ignored. */
export function readTraceparent(text: string): SpanContext | undefined {
  const [, traceId = '', spanId = '', flags = ''] = TRACEPARENT.exec(text) ?? [];
  const span = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
  return isSpanContextValid(span) ? span : undefined;
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}
