import {
  createRowLayout,
  decodeRecord,
  fullKvBytes,
  type Manifest,
  type PlacedField,
  parseManifest,
  type RowLayout,
  readField,
  steadyNowMs,
} from '@collectivekv/domain';
import type { Upstream } from '../upstream.js';
import type { FieldView, PositionView, UserView } from '../views.js';

/** Which record to show. */
export interface HistoryQuery {
  readonly userId: string;
  /** The bundle whose record to show; '' is the active one. */
  readonly bundleId: string;
  /** Newest positions to show. */
  readonly limit: number;
}

/** The route field that holds a position's item, if it has as many slots as the catalogue has items. */
const ITEM_FIELD = 'item';

/** Returns what a user's record holds. */
export async function readHistory(
  { pool, userCache }: Pick<Upstream, 'pool' | 'userCache'>,
  { userId, bundleId: wanted, limit }: HistoryQuery,
  timeoutMs: number,
): Promise<UserView> {
  const limits = { deadlineMs: steadyNowMs() + timeoutMs };
  const { bundleId, encodingId, manifest: bytes } = await pool.call('Describe', { bundleId: wanted }, limits);
  const manifest = parseManifest(bytes);
  const about = { bundleId, bundleName: manifest.name, encodingId };
  const { records } = await userCache.call('GetRecords', { encodingId, userIds: [userId] }, limits);
  const [stored] = records;
  if (!stored?.length) return { ...about, record: null };
  const layout = createRowLayout(manifest);
  const record = decodeRecord(stored, { encodingId, strideBytes: layout.strideBytes });
  const positions = newestPositions(layout, record, limit);
  const itemIds = await namesOf(pool, { bundleId, manifest, layout, positions }, limits);
  return {
    ...about,
    record: {
      positionCount: record.positionCount,
      maxPositions: manifest.maxPositions,
      lifetimeCount: record.lifetimeCount,
      lastEventMs: record.lastEventMs,
      bytes: stored.length,
      fullBytes: record.positionCount * fullKvBytes(manifest),
      fields: layout.fields.map(fieldView),
      distinctSlots: distinctSlotsOf(layout, record.rows),
      positions: positions.map((position, i) => ({ ...position, itemId: itemIds[i] ?? '' })),
    },
  };
}

function fieldView(field: PlacedField): FieldView {
  return {
    name: field.name,
    kind: field.kind,
    width: field.width,
    slots: field.kind === 'route' ? field.slots : 0,
    isTime: field.kind === 'raw' && field.source === 'timestamp_s',
  };
}

/** Returns the newest positions, newest first, without their items. */
function newestPositions(
  { fields, strideBytes }: RowLayout,
  { rows, positionCount }: { readonly rows: Uint8Array; readonly positionCount: number },
  limit: number,
): Omit<PositionView, 'itemId'>[] {
  const count = Math.min(limit, positionCount);
  const newest = rows.subarray((positionCount - count) * strideBytes);
  const columns = fields.map((field) => ({ field, values: valuesOf(newest, strideBytes, field) }));
  return Array.from({ length: count }, (_, fromNewest) => {
    const row = count - 1 - fromNewest;
    const values: Record<string, number> = {};
    let [squares, dims] = [0, 0];
    for (const { field, values: column } of columns) {
      if (field.kind !== 'user') values[field.name] = column[row] ?? 0;
      else for (const one of column.subarray(row * field.width, (row + 1) * field.width)) squares += one * one;
      if (field.kind === 'user') dims += field.width;
    }
    return { index: positionCount - 1 - fromNewest, values, ownSize: dims === 0 ? null : Math.sqrt(squares / dims) };
  });
}

function valuesOf(rows: Uint8Array, strideBytes: number, field: PlacedField): Float32Array | Uint32Array {
  const count = rows.length / strideBytes;
  if (field.kind !== 'route') {
    const values = new Float32Array(count * field.width);
    readField(rows, strideBytes, field, values);
    return values;
  }
  const slots = new Int32Array(count);
  readField(rows, strideBytes, field, slots);
  return new Uint32Array(slots.buffer);
}

function distinctSlotsOf({ fields, strideBytes }: RowLayout, rows: Uint8Array): Record<string, number> {
  const routes = fields.filter(({ kind }) => kind === 'route');
  return Object.fromEntries(
    routes.map((field) => [field.name, new Set(valuesOf(rows, strideBytes, field)).size] as const),
  );
}

/** Returns the item of each position; '' if rows do not hold it, or the bundle does not know it. */
async function namesOf(
  pool: Upstream['pool'],
  parts: {
    readonly bundleId: string;
    readonly manifest: Manifest;
    readonly layout: RowLayout;
    readonly positions: readonly Omit<PositionView, 'itemId'>[];
  },
  limits: { readonly deadlineMs: number },
): Promise<readonly string[]> {
  const { bundleId, manifest, layout, positions } = parts;
  const item = layout.fields.find((field) => field.kind === 'route' && field.name === ITEM_FIELD);
  if (item?.kind !== 'route' || item.slots !== manifest.items.count || positions.length === 0) return [];
  const indices = Uint32Array.from(positions, ({ values }) => values[ITEM_FIELD] ?? 0);
  const { itemIds } = await pool.call('NameItems', { bundleId, indices: Buffer.from(indices.buffer) }, limits);
  return itemIds;
}
