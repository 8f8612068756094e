import type { RunnableBundle } from '@collectivekv/bundles';
import { CkvError, integers, integerType } from '@collectivekv/domain';
import { type PoolRows, poolRowsBy } from './pool-rows.js';

const NO_SLOTS = new Int32Array(0);

/** Creates pool rows that the gather graph of a bundle in this process gathers. The bundle must be that of the calls. */
export function createLocalPoolRows({ graphs, model }: RunnableBundle): PoolRows {
  const { inputs, outputs } = model.manifest.graphs.gather;
  return poolRowsBy(async ({ group, keySlots, valueSlots, limits }) => {
    const feeds = inputs.flatMap((input) => {
      if (input.role !== 'slots') return [];
      const wanted = input.part === 'key' ? keySlots : valueSlots;
      const slots = input.group === group.name ? wanted : NO_SLOTS;
      return [[input.name, integers(integerType(input.type), slots, [slots.length])] as const];
    });
    const gathered = await graphs.run('gather', Object.fromEntries(feeds), limits);
    const rowsOf = (part: 'key' | 'value', count: number) => {
      const output = outputs.find((one) => one.role === 'rows' && one.group === group.name && one.part === part);
      if (!output || count === 0) return new Float32Array(0);
      const rows = gathered[output.name];
      const width = (part === 'key' ? group.pool.keyWidth : group.pool.valueWidth) ?? 0;
      if (rows?.type === 'float32' && rows.data.length === count * width) return rows.data;
      throw new CkvError('bug', `gather output ${output.name} is not float32 rows of width ${width}`);
    };
    return { keyRows: rowsOf('key', keySlots.length), valueRows: rowsOf('value', valueSlots.length) };
  });
}
