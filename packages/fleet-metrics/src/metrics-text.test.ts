import { Counter, Gauge, Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { parseMetrics } from './metrics-text.js';

it('reads what the client library of the services writes', async () => {
  const registry = new Registry();
  const registers = [registry];
  const counter = new Counter({ name: 'jobs_total', help: 'Jobs', labelNames: ['outcome'], registers });
  counter.inc({ outcome: 'a "quoted", {braced} \\ value\nof two lines' }, 3);
  new Gauge({ name: 'age', help: 'Age', registers }).set(Number.NaN);
  expect(parseMetrics(await registry.metrics())).toEqual([
    { name: 'jobs_total', labels: { outcome: 'a "quoted", {braced} \\ value\nof two lines' }, value: 3 },
    { name: 'age', labels: {}, value: Number.NaN },
  ]);
});

it.each(['', '# HELP x y', 'no sample at all', 'x{le="+Inf"'])('skips "%s"', (line) => {
  expect(parseMetrics(line)).toEqual([]);
});

it('reads infinity', () => {
  expect(parseMetrics('x{le="+Inf"} +Inf\ny -Inf')).toMatchObject([
    { labels: { le: '+Inf' }, value: Number.POSITIVE_INFINITY },
    { value: Number.NEGATIVE_INFINITY },
  ]);
});
