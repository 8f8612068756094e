import { openBundle } from '@collectivekv/bundles';
import { type BenchBundleName, D_MODEL, POOL_SLOTS, SEPARATE_SLOTS } from '../bench-bundles.js';
import { BASELINE_POSITIONS, type Bench, KEY_PREFIX } from '../bench-context.js';
import type { Params } from '../results.js';
import { historiesOf, recordOf } from '../workload.js';

/** Bytes of a position's keys and values in float32. */
const FULL_KV_BYTES = 2 * D_MODEL * 4;
const TARGETS: Record<string, string> = {
  'shared 100': '<= 0.0055',
  'shared 1000': '<= 0.003',
  'shared_separate 1000': '<= 0.0042',
};
const OURS: readonly (readonly [BenchBundleName, Params])[] = [
  ['shared', { arm: 'ours', pool: POOL_SLOTS, routes: 'tied' }],
  ['shared_int8', { arm: 'ours, int8 dims', pool: POOL_SLOTS, routes: 'tied' }],
  ['shared_separate', { arm: 'ours, separate', pool: SEPARATE_SLOTS, routes: 'separate' }],
];

/** Measures Redis's MEMORY USAGE of a record, key included, and its share of a full float32 cache of the same length. */
export async function bytes(bench: Bench): Promise<void> {
  const baselines = bench.options.baselines.map((name) => [name, { arm: name }] as const);
  for (const [name, about] of [...OURS, ...baselines]) {
    const dir = bench.bundle(name);
    const { model } = await openBundle(dir);
    const known = OURS.some(([ours]) => ours === name) ? Number.POSITIVE_INFINITY : BASELINE_POSITIONS;
    const lengths = bench.options.lengths.filter((positions) => positions <= known);
    const histories = await historiesOf(dir, Math.max(...lengths, 1));
    for (const positions of lengths) {
      const userId = `bytes-${positions}`;
      await bench.store.replaceRecord(model.id, userId, recordOf(model, histories(positions)));
      const memory = await memoryUsage(bench, `${KEY_PREFIX}:{${userId}}:${model.id.slice(0, 8)}`);
      await bench.store.deleteUser(userId);
      const target = TARGETS[`${name} ${positions}`];
      bench.add('bytes_per_user', { ...about, positions }, memory, 'B');
      bench.add('bytes_ratio', { ...about, positions }, memory / (positions * FULL_KV_BYTES), '', target);
    }
  }
}

async function memoryUsage({ redis }: Bench, key: string): Promise<number> {
  const memory = Number(await redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0'));
  if (!(memory > 0)) throw new Error(`Redis has no key ${key}`);
  return memory;
}
