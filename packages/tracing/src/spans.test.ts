import { SpanStatusCode } from '@opentelemetry/api';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inSpan, inSpanOfCall, inSpansOfJobs, noteInSpan, startSpansOfCalls } from './spans.js';
import { currentSpanIds, currentTraceparent, readTraceparent, recordedTraceparent } from './traceparent.js';

const exporter = new InMemorySpanExporter();
const CALLER = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const UNSAMPLED = CALLER.replace(/01$/, '00');
const hop = { name: 'hop', kind: 'client' } as const;

const spans = () =>
  exporter.getFinishedSpans().map((span) => ({
    name: span.name,
    id: span.spanContext().spanId,
    traceId: span.spanContext().traceId,
    parent: span.parentSpanContext?.spanId,
    links: span.links.map(({ context }) => context.spanId),
    attributes: span.attributes,
    failed: span.status.code === SpanStatusCode.ERROR,
  }));

it('records nothing in a process that does not trace', async () => {
  const traceparent = await inSpanOfCall(
    () => ({ name: 'call', traceparent: CALLER }),
    () => inSpan(hop, async () => currentTraceparent()),
  );
  expect(traceparent).toBe('');
  expect(await inSpansOfJobs('jobs', [CALLER], async () => currentTraceparent())).toBe('');
});

it.each([
  ['a traceparent of a later version', `cc${CALLER.slice(2)}-more`, true],
  ['the forbidden version', `ff${CALLER.slice(2)}`, false],
  ['an empty trace id', CALLER.replace(/4bf9[0-9a-f]*/, '0'.repeat(32)), false],
  ['capitals', CALLER.toUpperCase(), false],
  ['no text', '', false],
])('reads %s as the standard says', (_, text, valid) => {
  expect(readTraceparent(text) !== undefined).toBe(valid);
});

describe('in a process that traces', () => {
  beforeAll(() => {
    new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
    startSpansOfCalls();
  });
  beforeEach(() => exporter.reset());

  it('records a call below its caller, and hops below the call', async () => {
    const seen = await inSpanOfCall(
      () => ({ name: 'call', traceparent: CALLER }),
      () => inSpan(hop, async () => ({ traceparent: currentTraceparent(), ids: currentSpanIds() })),
    );
    const [inner, call] = spans();
    expect(call).toMatchObject({ name: 'call', traceId: CALLER.slice(3, 35), parent: CALLER.slice(36, 52) });
    expect(inner).toMatchObject({ name: 'hop', traceId: call?.traceId, parent: call?.id });
    expect(seen.traceparent).toBe(`00-${inner?.traceId}-${inner?.id}-01`);
    expect(seen.ids).toEqual({ trace_id: inner?.traceId, span_id: inner?.id });
  });

  it('passes on that a caller does not record, and records nothing', async () => {
    const call = { name: 'call', traceparent: UNSAMPLED };
    const within = () => inSpan(hop, async () => [currentTraceparent(), recordedTraceparent()]);
    const [current, recorded] = await inSpanOfCall(() => call, within);
    expect(current).toMatch(new RegExp(`^00-${UNSAMPLED.slice(3, 35)}-[0-9a-f]{16}-00$`));
    expect(recorded).toBe('');
    expect(spans()).toEqual([]);
  });

  it('names why a span failed, without the message', async () => {
    const error = Object.assign(new Error('user u'), { reason: 'overloaded' });
    const failing = inSpanOfCall(
      () => ({ name: 'call', traceparent: '' }),
      () => Promise.reject(error),
    );
    await expect(failing).rejects.toBe(error);
    expect(spans()).toMatchObject([{ failed: true, parent: undefined, attributes: { 'error.type': 'overloaded' } }]);
  });

  it('gives each traced job of a batch a span, and links them', async () => {
    const other = CALLER.replace('4bf9', 'aaaa');
    await inSpansOfJobs('apply', [UNSAMPLED, CALLER, 'nonsense', other], async () => {
      await inSpan(hop, async () => noteInSpan(() => ({ rows: 3 })));
    });
    const [inner, first, second] = spans();
    expect(first).toMatchObject({ traceId: CALLER.slice(3, 35), links: [other.slice(36, 52)] });
    expect(inner).toMatchObject({ parent: first?.id, attributes: { rows: 3 } });
    expect(second).toMatchObject({ traceId: other.slice(3, 35), links: [first?.id] });
  });
});
