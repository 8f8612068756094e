import {
  type BundleModel,
  CkvError,
  createPoolTables,
  integers,
  integerType,
  type PoolPart,
  type PoolTables,
  poolWidth,
  type Tensors,
} from '@collectivekv/domain';

/** Most numbers that one run of the gather graph gives: 16 MiB of float32. */
const CHUNK_NUMBERS = 4 * 1024 * 1024;
/** Most slots of one run, however narrow its rows. */
const CHUNK_SLOTS = 65_536;

/**
 * Reads the pool parts that the clusterings of the rank graph add up, by running the gather graph over all slots.
 * @param gather runs the gather graph
 * @returns undefined if the rank graph has no clusterings
 * @throws bundle_invalid if the graph gives another number of rows; the errors of `gather`
 */
export async function readPoolTables(
  model: BundleModel,
  gather: (feeds: Tensors) => Promise<Tensors>,
): Promise<PoolTables | undefined> {
  const tables = createPoolTables(model);
  for (const part of tables?.parts ?? []) {
    const table = tables?.table(part) ?? new Float32Array(0);
    const width = poolWidth(model.manifest, part);
    const slotCount = table.length / width;
    const chunkSlots = Math.min(CHUNK_SLOTS, Math.max(1, Math.floor(CHUNK_NUMBERS / width)));
    for (let from = 0; from < slotCount; from += chunkSlots) {
      const slots = new Int32Array(Math.min(chunkSlots, slotCount - from));
      for (let i = 0; i < slots.length; i++) slots[i] = from + i; // faster than Int32Array.from
      table.set(await gatherRows(model, gather, part, slots), from * width);
    }
  }
  return tables;
}

async function gatherRows(
  model: BundleModel,
  gather: (feeds: Tensors) => Promise<Tensors>,
  { group, part }: PoolPart,
  slots: Int32Array,
): Promise<Float32Array> {
  const { inputs, outputs } = model.manifest.graphs.gather;
  const feeds = inputs.flatMap((input) => {
    if (input.role !== 'slots') return [];
    const asked = input.group === group && input.part === part ? slots : new Int32Array(0);
    return [[input.name, integers(integerType(input.type), asked, [asked.length])] as const];
  });
  const answer = await gather(Object.fromEntries(feeds));
  const output = outputs.find((one) => one.role === 'rows' && one.group === group && one.part === part);
  const rows = answer[output?.name ?? ''];
  const width = poolWidth(model.manifest, { group, part });
  if (rows?.type === 'float32' && rows.data.length === slots.length * width) return rows.data;
  const found = `${rows?.data.length ?? 0} numbers of type ${rows?.type ?? 'none'}`;
  const problem = `${found} for ${slots.length} slots of width ${width}, float32 rows are required`;
  throw new CkvError('bundle_invalid', `graphs.gather.outputs.${output?.name}: ${problem}; export the bundle again`);
}
