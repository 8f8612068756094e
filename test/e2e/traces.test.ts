// A collector in this test receives the spans of real processes. The trace of one Rank and that of one Record show every
// hop, and where one ends the next begins.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { createCollectiveKvClient } from '@collectivekv/client';
import { context, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, interactionsOf, startE2e, startOtherRanking } from './e2e-stack.js';

/** A span as OTLP writes it in JSON. */
interface OtlpSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
  /** The service that recorded it. */
  readonly service: string;
}

const RANKING = 'collectivekv.v1.RankingService';
const own = new InMemorySpanExporter();
const received: OtlpSpan[] = [];
let collector: Server;
let e2e: E2eStack;
let env: Record<string, string>;

beforeAll(async () => {
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(own)] }).register(); // as a feed backend has it
  collector = createServer(async (request, response) => {
    receive(await text(request));
    response.setHeader('content-type', 'application/json');
    response.end('{}');
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_BSP_SCHEDULE_DELAY: '50',
    OTEL_TRACES_SAMPLER: 'parentbased_always_off', // the backend decides
  };
  e2e = await startE2e({ env: { ranking: env, updater: env, 'user-cache': env, pool: env } });
  await e2e.client.recordInteractions(interactionsOf('u', 30));
  await e2e.untilApplied('u', 30);
});
afterAll(async () => {
  await e2e?.close();
  collector?.close();
});

function receive(body: string): void {
  const { resourceSpans = [] } = JSON.parse(body) as {
    resourceSpans?: { resource: { attributes: OtlpSpan['attributes'] }; scopeSpans: { spans: OtlpSpan[] }[] }[];
  };
  for (const { resource, scopeSpans } of resourceSpans) {
    const service = resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '';
    for (const { spans } of scopeSpans) received.push(...spans.map((span) => ({ ...span, service })));
  }
}

/** Runs a backend's work in a trace of its own, and returns the trace's id. */
async function traced(work: () => Promise<unknown>): Promise<string> {
  const span = trace.getTracer('backend').startSpan('request');
  await context.with(trace.setSpan(context.active(), span), work);
  span.end();
  return span.spanContext().traceId;
}

/** Returns the paths of a trace from its root, each `service: name` joined by ` > `. */
function pathsOf(traceId: string): string[] {
  const mine = own.getFinishedSpans().map((span) => ({
    name: span.name,
    traceId: span.spanContext().traceId,
    spanId: span.spanContext().spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    service: 'backend',
  }));
  const spans = [...mine, ...received].filter((span) => span.traceId === traceId);
  const pathOf = (id: string | undefined): string => {
    if (!id) return '';
    const span = spans.find(({ spanId }) => spanId === id);
    return span ? `${pathOf(span.parentSpanId)} > ${span.service}: ${span.name}` : ' > MISSING';
  };
  return spans.map(({ spanId }) => pathOf(spanId).slice(3).replaceAll('collectivekv.v1.', ''));
}

const CALLED = 'backend: request > backend: RankingService/RankStream > ckv-ranking: RankingService/RankStream';
const RECORDED =
  'backend: request > backend: InteractionService/Record > ckv-updater: InteractionService/Record' +
  ' > ckv-updater: queue interactions';
const APPLIED = `${RECORDED} > ckv-updater: apply interactions > ckv-updater: UserCacheService/AppendPositions`;

it('shows every hop of a Rank', async () => {
  const traceId = await traced(() => e2e.client.rank({ userId: 'u', candidateIds: ['i0001'] }));
  await expect
    .poll(() => pathsOf(traceId))
    .toEqual(
      expect.arrayContaining([
        `${CALLED} > ckv-ranking: fetch > ckv-ranking: redis`,
        `${CALLED} > ckv-ranking: attend`,
      ]),
    );
  const answered = received.find(({ name, traceId: id }) => name === `${RANKING}/RankStream` && id === traceId);
  expect(answered?.attributes.map(({ key }) => key)).toEqual(
    expect.arrayContaining(['ckv.bundle_id', 'ckv.rung', 'ckv.position_count']),
  );
  expect(JSON.stringify(received)).not.toContain('"u"');
});

it('shows the pool and the user-cache where ranking asks them', async () => {
  const remote = await startOtherRanking(e2e.stack, {
    ...env,
    CKV_POOL_MODE: 'remote',
    CKV_RECORD_READS: 'user-cache',
  });
  const client = createCollectiveKvClient({ rankingTarget: remote.address, rankTimeoutMs: 10_000 });
  const traceId = await traced(() => client.rank({ userId: 'u', candidateIds: ['i0001'] }));
  const hops = [
    `${CALLED} > ckv-ranking: fetch > ckv-ranking: UserCacheService/GetRecords > ckv-user-cache: UserCacheService/GetRecords > ckv-user-cache: redis`,
    `${CALLED} > ckv-ranking: gather > ckv-ranking: PoolService/Gather > ckv-pool: PoolService/Gather`,
  ];
  await expect.poll(() => pathsOf(traceId)).toEqual(expect.arrayContaining(hops));
  client.close();
  await remote.close();
});

it('shows every hop of a Record, through the queue', async () => {
  const traceId = await traced(() => e2e.client.recordInteractions(interactionsOf('v', 3)));
  await expect
    .poll(() => pathsOf(traceId), { timeout: 10_000 })
    .toEqual(
      expect.arrayContaining([
        `${RECORDED} > ckv-updater: redis`,
        `${RECORDED} > ckv-updater: encode interactions`,
        `${APPLIED} > ckv-user-cache: UserCacheService/AppendPositions > ckv-user-cache: redis`,
      ]),
    );
});

it('records no trace that the backend does not record', async () => {
  const count = received.length;
  await e2e.client.rank({ userId: 'u', candidateIds: ['i0001'] });
  const traceId = await traced(() => e2e.client.rank({ userId: 'u', candidateIds: ['i0001'] }));
  await expect.poll(() => pathsOf(traceId)).toContain(`${CALLED} > ckv-ranking: attend`);
  expect(received.slice(count).filter((span) => span.traceId !== traceId)).toEqual([]);
});
