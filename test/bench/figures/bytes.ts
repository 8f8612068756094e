import { openBundle } from '@collectivekv/bundles';
import { D_MODEL } from '../bench-bundles.js';
import { type Bench, KEY_PREFIX } from '../bench-context.js';
import { lengthsOf } from '../options.js';
import { RECOMMENDED } from '../trained-bundles.js';
import { recordOf } from '../workload.js';

/** Bytes of a position's keys and values in float32. */
const FULL_KV_BYTES = 2 * D_MODEL * 4;
const TARGETS: Record<string, string> = { [`${RECOMMENDED} 1000`]: '<= 0.0025' };

/**
 * Measures Redis's MEMORY USAGE of a record, key included, and its share of a full float32 cache of the same length.
 */
export async function bytes(bench: Bench): Promise<void> {
  for (const arm of [RECOMMENDED, ...bench.options.baselines] as const) {
    const { dir, histories } = bench.trained(arm);
    const { model } = await openBundle(dir);
    for (const positions of lengthsOf(arm, bench.options.lengths)) {
      const userId = `bytes-${positions}`;
      const [rows = new Uint8Array(0)] = await histories(positions, 1);
      await bench.store.replaceRecord(model.encodingId, userId, recordOf(model, rows));
      const memory = await memoryUsage(bench, `${KEY_PREFIX}:{${userId}}:${model.encodingId.slice(0, 8)}`);
      await bench.store.deleteUser(userId);
      const share = memory / (positions * FULL_KV_BYTES);
      bench.add('bytes_per_user', { arm, positions }, memory, 'B');
      bench.add('bytes_per_position', { arm, positions }, memory / positions, 'B');
      bench.add('bytes_ratio', { arm, positions }, share, '', TARGETS[`${arm} ${positions}`]);
    }
  }
}

async function memoryUsage({ redis }: Bench, key: string): Promise<number> {
  const memory = Number(await redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0'));
  if (!(memory > 0)) throw new Error(`Redis has no key ${key}`);
  return memory;
}
