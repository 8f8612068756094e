import {
  assembleRankKv,
  type BundleModel,
  type Candidates,
  CkvError,
  type GatheredRows,
  type KvGroup,
  LIMITS,
  slotHistogram,
  type Tensors,
} from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import { floatsFrom } from '../packed.js';

/** Pool rows by KV group. */
export type GatheredGroups = ReadonlyMap<string, GatheredRows>;

/** Gathers pool rows from the pool service and assembles graph inputs with them. */
export interface PoolRows {
  /**
   * Gathers the row of every slot that the history visits, once for each KV group.
   * @throws dependency_unavailable, deadline, bundle_not_loaded
   */
  gather(
    model: BundleModel,
    rows: Uint8Array,
    limits: { deadlineMs: number; signal: AbortSignal },
  ): Promise<GatheredGroups>;
  /** Fills the inputs of the rankKv graph; see assembleRankKv. */
  assemble(model: BundleModel, rows: Uint8Array, gathered: GatheredGroups, candidates: Candidates): Tensors;
}

const NO_SLOTS = new Int32Array(0);

/** Slots of one KV group, at most 100,000 of each part. */
export interface SlotsToGather {
  readonly model: BundleModel;
  readonly group: KvGroup;
  readonly keySlots: Int32Array;
  readonly valueSlots: Int32Array;
  readonly limits: { deadlineMs: number; signal: AbortSignal };
}

/** Gathers the rows of slots. */
export type GatherSlots = (slots: SlotsToGather) => Promise<Pick<GatheredRows, 'keyRows' | 'valueRows'>>;

/** Creates pool rows that are gathered by a PoolService client. */
export function createPoolRows(pool: Pick<GrpcClient<'PoolService'>, 'call'>): PoolRows {
  return poolRowsBy(async ({ model, group, keySlots, valueSlots, limits }) => {
    const answer = await pool.call(
      'Gather',
      { bundleId: model.id, group: group.name, keySlots: packSlots(keySlots), valueSlots: packSlots(valueSlots) },
      limits,
    );
    if (answer.bundleId !== model.id)
      throw new CkvError('bundle_mismatch', `the pool gathered rows of bundle ${answer.bundleId}, not of ${model.id}`);
    const keyRows = floatsFrom(answer.keyRows);
    // A request without value slots means tied routes: the pool answers value rows of the key slots.
    const valueRows = valueSlots.length === 0 ? new Float32Array(0) : floatsFrom(answer.valueRows);
    const { keyWidth, valueWidth = 0 } = group.pool;
    if (keyRows.length !== keySlots.length * keyWidth || valueRows.length !== valueSlots.length * valueWidth) {
      throw new CkvError('bug', `the pool gathered another number of rows than there are slots of group ${group.name}`);
    }
    return { keyRows, valueRows };
  });
}

/** Creates pool rows that `gatherSlots` gathers. */
export function poolRowsBy(gatherSlots: GatherSlots): PoolRows {
  /** Gathers the slots of a group, at most 100,000 per part in each call. */
  async function gatherGroup(
    model: BundleModel,
    group: KvGroup,
    rows: Uint8Array,
    limits: { deadlineMs: number; signal: AbortSignal },
  ): Promise<GatheredRows> {
    const slotsOf = (route: string | undefined) =>
      route === undefined ? NO_SLOTS : slotHistogram(model, rows, route).slots;
    const keySlots = slotsOf(group.key.route);
    const valueSlots = group.key.route === group.value?.route ? keySlots : slotsOf(group.value?.route);
    const callCount = Math.ceil(Math.max(keySlots.length, valueSlots.length) / LIMITS.gatherSlots);
    const answers = await Promise.all(
      Array.from({ length: callCount }, (_, i) => {
        const [from, to] = [i * LIMITS.gatherSlots, (i + 1) * LIMITS.gatherSlots];
        return gatherSlots({
          model,
          group,
          keySlots: keySlots.subarray(from, to),
          valueSlots: valueSlots.subarray(from, to),
          limits,
        });
      }),
    );
    const keyRows = joined(answers.map((answer) => answer.keyRows));
    return { keySlots, keyRows, valueSlots, valueRows: joined(answers.map((answer) => answer.valueRows)) };
  }

  return {
    async gather(model, rows, limits) {
      const { groups } = model.manifest;
      const gathered = await Promise.all(groups.map((group) => gatherGroup(model, group, rows, limits)));
      return new Map(groups.map((group, i) => [group.name, gathered[i] ?? emptyRows(NO_SLOTS, NO_SLOTS)]));
    },
    assemble(model, rows, gathered, candidates) {
      const groups = model.manifest.groups.map(
        ({ name }) => [name, gathered.get(name) ?? emptyRows(NO_SLOTS, NO_SLOTS)] as const,
      );
      return assembleRankKv(model, rows, new Map(groups), candidates);
    },
  };
}

function emptyRows(keySlots: Int32Array, valueSlots: Int32Array): GatheredRows {
  return { keySlots, keyRows: new Float32Array(0), valueSlots, valueRows: new Float32Array(0) };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1 && parts[0]) return parts[0];
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function packSlots(slots: Int32Array): Buffer {
  return Buffer.from(slots.buffer, slots.byteOffset, slots.byteLength);
}
