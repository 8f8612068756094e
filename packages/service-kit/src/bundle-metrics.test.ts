import { expect, it } from 'vitest';
import { watchFollowedBundles } from './bundle-metrics.js';
import { createMetrics } from './metrics.js';

const model = { id: 'a', encodingId: 'e', manifest: { name: 'demo' } };

it('says of each announced bundle whether it is loaded, and nothing of others', async () => {
  const metrics = createMetrics('test');
  let announced = [
    { bundleId: 'a', state: 'active' },
    { bundleId: 'b', state: 'warming' },
  ];
  watchFollowedBundles(metrics, { announced: () => announced, all: () => [{ model }] });
  const lines = async () => (await metrics.registry.getSingleMetricAsString('ckv_bundle_loaded')).split('\n').slice(2);
  expect(await lines()).toEqual([
    expect.stringMatching(/bundle="a",state="active".* 1$/),
    expect.stringMatching(/bundle="b",state="warming".* 0$/),
  ]);
  announced = [{ bundleId: 'a', state: 'active' }];
  expect(await lines()).toHaveLength(1);
});

it('says what each loaded bundle is', async () => {
  const metrics = createMetrics('test');
  watchFollowedBundles(metrics, { announced: () => [], all: () => [{ model }] });
  const text = await metrics.registry.getSingleMetricAsString('ckv_bundle_info');
  expect(text).toMatch(/\{bundle="a",name="demo",encoding="e",service="test"\} 1$/);
});
