import type { RunnableBundle } from '@collectivekv/bundles';
import {
  CkvError,
  type GraphInput,
  integers,
  integerType,
  invalidRequest,
  type KvGroup,
  LIMITS,
  type Tensor,
} from '@collectivekv/domain';
import type { RunLimits } from '@collectivekv/engine';

/** Slots of one KV group. */
export interface GatherQuery {
  /** Empty means the bundle's first group. */
  readonly group: string;
  readonly keySlots: Uint32Array;
  readonly valueSlots: Uint32Array;
}

/** The gathered rows, in the order of the slots. */
export interface GatheredParts {
  readonly keyRows: Float32Array; // [keySlots * keyWidth]
  readonly valueRows: Float32Array; // [valueSlots * valueWidth]
}

/**
 * Gathers pool rows with the bundle's gather graph. The graph keeps the pool in its execution provider's memory.
 * @throws invalid_request for an unknown group, too many slots, or a slot beyond the pool
 */
export async function gatherRows(
  bundle: RunnableBundle,
  query: GatherQuery,
  limits: RunLimits,
): Promise<GatheredParts> {
  const { groups, graphs } = bundle.model.manifest;
  const group = query.group === '' ? groups[0] : groups.find(({ name }) => name === query.group);
  if (!group) {
    const known = groups.map(({ name }) => name).join(', ');
    throw invalidRequest('group', `"${query.group}" is not a KV group of the bundle`, `use one of: ${known}`);
  }
  checkSlots('key_slots', query.keySlots, group);
  checkSlots('value_slots', query.valueSlots, group);
  // The inputs of other groups get no slots.
  const feeds = graphs.gather.inputs.map((input) => [input.name, slotsTensor(input, group, query)] as const);
  const outputs = await bundle.graphs.run('gather', Object.fromEntries(feeds), limits);
  const rowsOf = (part: 'key' | 'value') => {
    const spec = graphs.gather.outputs.find(
      (output) => output.role === 'rows' && output.group === group.name && output.part === part,
    );
    return spec ? floatRows(outputs[spec.name], spec.name) : new Float32Array(0);
  };
  return { keyRows: rowsOf('key'), valueRows: rowsOf('value') };
}

function slotsTensor(input: GraphInput, group: KvGroup, query: GatherQuery): Tensor {
  if (input.role !== 'slots') throw new CkvError('bug', `gather input ${input.name} has role ${input.role}`);
  const asked = input.group === group.name ? (input.part === 'key' ? query.keySlots : query.valueSlots) : [];
  return integers(integerType(input.type), asked, [asked.length]);
}

function checkSlots(field: string, slots: Uint32Array, { pool }: KvGroup): void {
  if (slots.length > LIMITS.gatherSlots) {
    throw invalidRequest(
      field,
      `has ${slots.length} slots, at most ${LIMITS.gatherSlots} are allowed`,
      'gather in several calls',
    );
  }
  const bad = slots.findIndex((slot) => slot >= pool.slots);
  if (bad >= 0) {
    throw invalidRequest(
      `${field}[${bad}]`,
      `is ${slots[bad]}, the pool has ${pool.slots} slots`,
      'use routes of this bundle',
    );
  }
}

function floatRows(tensor: Tensor | undefined, name: string): Float32Array {
  if (tensor?.type === 'float32') return tensor.data;
  throw new CkvError('bug', `gather output ${name} is not float32`);
}
