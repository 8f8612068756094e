import { createMetrics } from '@collectivekv/service-kit';
import { expect, it } from 'vitest';
import { watchBatches, watchJoinedUsers } from './batch-metrics.js';

it('counts the users of shared runs, and the runs that repeat a failed one', async () => {
  const metrics = createMetrics('test');
  const onBatch = watchBatches(metrics);
  onBatch(40, false);
  onBatch(3, true);
  const text = await metrics.registry.metrics();
  expect(text).toMatch(/^ckv_rank_batch_users_bucket\{le="4",service="test"\} 1$/m);
  expect(text).toMatch(/^ckv_rank_batch_users_sum\{service="test"\} 43$/m);
  expect(text).toMatch(/^ckv_rank_repeated_runs_total\{service="test"\} 3$/m);
});

it('says of each loaded bundle how many users may share a run', async () => {
  const metrics = createMetrics('test');
  const joined = { model: { id: 'a' }, joinedUsers: { mostUsers: 8, because: 'measured' } } as const;
  let loaded: readonly (typeof joined | { readonly model: { readonly id: string } })[] = [
    joined,
    { model: { id: 'b' } },
  ];
  watchJoinedUsers(metrics, { all: () => loaded });
  const lines = async () =>
    (await metrics.registry.getSingleMetricAsString('ckv_rank_most_batch_users')).split('\n').slice(2);
  expect(await lines()).toEqual([
    'ckv_rank_most_batch_users{bundle="a",service="test"} 8',
    'ckv_rank_most_batch_users{bundle="b",service="test"} 1',
  ]);
  loaded = [];
  expect(await lines()).toEqual([]);
});
