import {
  type BundleModel,
  CkvError,
  integers,
  integerType,
  isClusterInput,
  type PoolPart,
  type PoolTables,
  type Tensors,
} from '@collectivekv/domain';
import type { GraphSet } from '@collectivekv/engine';

/** Numbers that one run of the gather graph gives: 16 MiB of float32. */
const CHUNK_NUMBERS = 4 * 1024 * 1024;

/** Returns the pool parts that the clusterings of the rank graph add up, each once. */
export function clusteredParts({ manifest, clustering }: BundleModel): PoolPart[] {
  const names = new Set(manifest.graphs.rank.inputs.filter(isClusterInput).map((input) => input.clustering));
  const parts = [...names].flatMap((name) =>
    clustering(name).terms.flatMap(({ rows, scale }) => (scale ? [rows, scale.rows] : [rows])),
  );
  return [...new Map(parts.map((part) => [`${part.group}.${part.part}`, part])).values()];
}

/**
 * Reads whole pool parts by running the gather graph over all slots, in chunks.
 * @throws bundle_invalid if the graph gives another number of rows; as GraphSet.run does
 */
export async function readPoolTables(
  model: BundleModel,
  graphs: Pick<GraphSet, 'run'>,
  parts: readonly PoolPart[],
): Promise<PoolTables> {
  const tables = new Map<string, { key?: Float32Array; value?: Float32Array }>();
  for (const { group, part } of parts) {
    const table = await readTable(model, graphs, { group, part });
    tables.set(group, { ...tables.get(group), [part]: table });
  }
  return tables;
}

async function readTable(
  { manifest: { groups, graphs } }: BundleModel,
  set: Pick<GraphSet, 'run'>,
  { group, part }: PoolPart,
): Promise<Float32Array> {
  const pool = groups.find(({ name }) => name === group)?.pool;
  const width = (part === 'key' ? pool?.keyWidth : pool?.valueWidth) ?? 0;
  const slotCount = pool?.slots ?? 0;
  const output = graphs.gather.outputs.find(
    (one) => one.role === 'rows' && one.group === group && one.part === part,
  )?.name;
  const chunkSlots = Math.max(1, Math.floor(CHUNK_NUMBERS / width));
  const table = new Float32Array(slotCount * width); // [slots * width]
  for (let from = 0; from < slotCount; from += chunkSlots) {
    const slots = Int32Array.from({ length: Math.min(chunkSlots, slotCount - from) }, (_, i) => from + i);
    const feeds: Tensors = {};
    for (const input of graphs.gather.inputs) {
      if (input.role !== 'slots') continue;
      const asked = input.group === group && input.part === part ? slots : new Int32Array(0);
      feeds[input.name] = integers(integerType(input.type), asked, [asked.length]);
    }
    const outputs = await set.run('gather', feeds);
    const rows = outputs[output ?? ''];
    if (rows?.type !== 'float32' || rows.data.length !== slots.length * width) {
      const found = `${rows?.data.length ?? 0} numbers of type ${rows?.type ?? 'none'}`;
      const problem = `${found} for ${slots.length} slots of width ${width}, float32 rows are required`;
      throw new CkvError('bundle_invalid', `graphs.gather.outputs.${output}: ${problem}; export the bundle again`);
    }
    table.set(rows.data, from * width);
  }
  return table;
}
