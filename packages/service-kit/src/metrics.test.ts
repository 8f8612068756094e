import { expect, it } from 'vitest';
import { askGauge, createMetrics, serveMetrics } from './metrics.js';

const serve = (bind: string, allowInsecure: boolean) =>
  serveMetrics(createMetrics('test'), { bind, allowInsecure, isReady: () => true });

it('serves metrics beyond loopback only if the operator allows it', async () => {
  await expect(serve('0.0.0.0:0', false)).rejects.toThrow(
    /CKV_METRICS_BIND: 0\.0\.0\.0:0 is beyond loopback .*; bind to 127\.0\.0\.1, or set CKV_METRICS_ALLOW_INSECURE=true/,
  );
  const { address, close } = await serve('0.0.0.0:0', true);
  expect(await fetch(`http://${address}/readyz`).then(({ ok }) => ok)).toBe(true);
  await close();
});

it('is not held up by a system that does not answer, nor fails with one that refuses', async () => {
  const metrics = createMetrics('test');
  askGauge(metrics, { name: 'ckv_hangs', help: 'never' }, () => new Promise(() => undefined));
  askGauge(metrics, { name: 'ckv_fails', help: 'no' }, () => Promise.reject(new Error('away')));
  askGauge(metrics, { name: 'ckv_answers', help: 'yes' }, async () => 7);
  const text = await metrics.registry.metrics();
  expect(text).toMatch(/^ckv_hangs\{.*\} (?:Nan|NaN)$/m);
  expect(text).toMatch(/^ckv_fails\{.*\} (?:Nan|NaN)$/m);
  expect(text).toMatch(/^ckv_answers\{.*\} 7$/m);
});
