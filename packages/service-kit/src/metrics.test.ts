import { expect, it } from 'vitest';
import { createMetrics, serveMetrics } from './metrics.js';

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
