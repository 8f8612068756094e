import type { LoadedBundle } from '@collectivekv/bundles';
import {
  type BundleModel,
  CkvError,
  counted,
  createSlotUsage,
  invalidRequest,
  MAX_COUNTED_SLOTS,
  type RecordField,
  rankShares,
  type SlotUsage,
  type UsageDrift,
  type UsageFigures,
  usageDrift,
  usageFigures,
} from '@collectivekv/domain';
import type { BundleShelf } from './bundle-shelf.js';
import { type SlotRuns, slotRuns } from './slot-runs.js';

/** Positions that an updater appended under one encoding: how many use each slot of a route field. */
export interface UsageReport {
  readonly encodingId: string;
  readonly fields: readonly {
    readonly field: string;
    readonly slots: Uint32Array; // [distinct]
    readonly counts: Uint32Array; // [distinct]
  }[];
}

/** How recent positions use a route field's slots, and how the positions of training did. */
export interface FieldHealth {
  readonly field: string;
  readonly recent: UsageFigures;
  /** Shares of positions by the slots' ranks, as `rankShares` returns them. */
  readonly recentRankShares: readonly number[];
  /** Undefined if the bundle has no counts of training. */
  readonly trained: (UsageFigures & { readonly rankShares: readonly number[] }) | undefined;
  /** Undefined without counts of training, or without recent positions. */
  readonly drift: UsageDrift | undefined;
  /** The counts by the slots' numbers. */
  readonly runs: SlotRuns;
}

/** Counts how recent positions use the pools of the loaded bundles. */
export interface PoolHealth {
  /** Recent positions are those of one to two windows of this length, s. */
  readonly windowS: number;
  /**
   * Adds an updater's report.
   * @throws bundle_not_loaded if no bundle has the encoding; invalid_request for a field or a slot that it has not
   */
  add(report: UsageReport): void;
  /** Returns the health of every counted route field of a bundle. */
  of(bundle: LoadedBundle): readonly FieldHealth[];
}

type RouteField = Extract<RecordField, { kind: 'route' }>;

/** How long computed figures are used again: a scrape and a caller may ask at any time. */
const FIGURES_MS = 5_000;

/** Creates the counts. They hold one to two windows of reports, and take 8 bytes a slot. */
export function createPoolHealth(
  shelf: Pick<BundleShelf, 'get' | 'ids'>,
  windowMs: number,
  nowMs: () => number = () => performance.now(),
): PoolHealth {
  /** By encoding, then by field. */
  const usages = new Map<string, Map<string, SlotUsage>>();
  const computed = new WeakMap<LoadedBundle, { readonly atMs: number; readonly fields: readonly FieldHealth[] }>();

  function usagesOf({ encodingId, manifest }: BundleModel): Map<string, SlotUsage> {
    const known = usages.get(encodingId);
    if (known) return known;
    const made = new Map(
      countedFields(manifest.record.fields).map(({ name, slots }) => [name, createSlotUsage(slots, windowMs, nowMs)]),
    );
    usages.set(encodingId, made);
    return made;
  }

  return {
    windowS: windowMs / 1_000,

    add({ encodingId, fields }) {
      const bundles = shelf.ids().map((id) => shelf.get(id));
      const bundle = bundles.find(({ model }) => model.encodingId === encodingId);
      if (!bundle) {
        const text = `encoding_id: no loaded bundle has the encoding ${encodingId}`;
        throw new CkvError('bundle_not_loaded', text, { field: 'encoding_id' });
      }
      const routes = new Map(countedFields(bundle.model.manifest.record.fields).map((field) => [field.name, field]));
      for (const [i, { field, slots, counts }] of fields.entries()) checkUsage(routes, { field, slots, counts }, i);
      const encodings = new Set(bundles.map(({ model }) => model.encodingId));
      for (const id of usages.keys()) if (!encodings.has(id)) usages.delete(id);
      const ofEncoding = usagesOf(bundle.model);
      for (const { field, slots, counts } of fields) ofEncoding.get(field)?.add(slots, counts);
    },

    of(bundle) {
      const before = computed.get(bundle);
      if (before && nowMs() - before.atMs < FIGURES_MS) return before.fields;
      const fields = [...usagesOf(bundle.model)].map(([field, usage]) =>
        healthOf(field, usage.counts(), bundle.model.trainedUsage.get(field)),
      );
      computed.set(bundle, { atMs: nowMs(), fields });
      return fields;
    },
  };
}

function countedFields(fields: readonly RecordField[]): RouteField[] {
  return fields.filter((field): field is RouteField => field.kind === 'route' && field.slots <= MAX_COUNTED_SLOTS);
}

function checkUsage(
  routes: ReadonlyMap<string, RouteField>,
  { field, slots, counts }: UsageReport['fields'][number],
  i: number,
): void {
  const route = routes.get(field);
  if (!route)
    throw invalidRequest(`fields[${i}].field`, `${field} is no counted route field`, 'send one of the bundle');
  if (slots.length !== counts.length) {
    throw invalidRequest(
      `fields[${i}].counts`,
      `has ${counted(counts.length, 'count')} for ${counted(slots.length, 'slot')}`,
      'send one each',
    );
  }
  const beyond = slots.find((slot) => slot >= route.slots);
  if (beyond === undefined) return;
  throw invalidRequest(
    `fields[${i}].slots`,
    `has the slot ${beyond}, ${field} has ${route.slots}`,
    'send slots below it',
  );
}

function healthOf(field: string, recent: Uint32Array, trained: Uint32Array | undefined): FieldHealth {
  return {
    field,
    recent: usageFigures(recent),
    recentRankShares: rankShares(recent),
    trained: trained && { ...usageFigures(trained), rankShares: rankShares(trained) },
    drift: trained && usageDrift(recent, trained),
    runs: slotRuns(recent, trained),
  };
}
