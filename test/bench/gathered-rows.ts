import { type BundleModel, type GatheredRows, integers, slotHistogram, type Tensors } from '@collectivekv/domain';

/** Gathers the pool rows of the slots that a history visits, by group. `gather` runs the bundle's gather graph. */
export async function gatheredRows(
  model: BundleModel,
  rows: Uint8Array,
  gather: (feeds: Tensors) => Promise<Tensors>,
): Promise<Map<string, GatheredRows>> {
  const { graphs, groups } = model.manifest;
  const slotsOf = (group: string, part: 'key' | 'value') => {
    const route = groups.find(({ name }) => name === group)?.[part]?.route;
    return route === undefined ? new Int32Array(0) : slotHistogram(model, rows, route).slots;
  };
  const feeds = graphs.gather.inputs.flatMap((input) => {
    if (input.role !== 'slots') return [];
    const slots = slotsOf(input.group, input.part);
    return [[input.name, integers('int64', slots, [slots.length])] as const];
  });
  const outputs = await gather(Object.fromEntries(feeds));
  const rowsOf = (group: string, part: 'key' | 'value') => {
    const name = graphs.gather.outputs.find(
      (output) => output.role === 'rows' && output.group === group && output.part === part,
    )?.name;
    return (name === undefined ? new Float32Array(0) : outputs[name]?.data) as Float32Array;
  };
  return new Map(
    groups.map(({ name }) => [
      name,
      {
        keySlots: slotsOf(name, 'key'),
        keyRows: rowsOf(name, 'key'),
        valueSlots: slotsOf(name, 'value'),
        valueRows: rowsOf(name, 'value'),
      },
    ]),
  );
}
