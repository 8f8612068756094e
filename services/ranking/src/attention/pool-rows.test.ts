import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { GatherRequest__Output, GatherResponse } from '@collectivekv/contracts';
import { type BundleModel, CkvError, createBundleModel, type RecordField } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { createLogger, createMetrics } from '@collectivekv/service-kit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPoolRows, type PoolRows } from './pool-rows.js';

const TARGET = fileURLToPath(new URL('../../../../test/fixtures/bundles/target', import.meta.url));
/** Widths of the key and value rows by group. */
const WIDTHS: Record<string, [key: number, value: number]> = { history: [4, 4], user: [2, 3], keys: [1, 1] };
const NO_CANDIDATES = { itemIndices: new Int32Array(0), columns: {}, context: {} };
const unused = () => Promise.reject(new CkvError('bug', 'unused'));
const limits = () => ({ deadlineMs: Date.now() + 5_000, signal: new AbortController().signal });

let calls: GatherRequest__Output[];
/** Fields that the pool answers instead of the right ones. */
let overrides: GatherResponse;
let server: GrpcServer;
let pool: GrpcClient<'PoolService'>;
let poolRows: PoolRows;
let model: BundleModel;

beforeAll(async () => {
  model = modelOf(threeGroups());
  server = createGrpcServer({
    bind: '127.0.0.1:0',
    log: createLogger('test', 'silent'),
    metrics: createMetrics('test'),
  });
  server.add('PoolService', {
    /** Answers rows whose elements are their slot, plus 0.5 in value rows. */
    async Gather(request) {
      calls.push(request);
      const [keyWidth, valueWidth] = WIDTHS[request.group] ?? [0, 0];
      const keySlots = slotsOf(request.keySlots);
      const valueSlots = request.valueSlots.length === 0 ? keySlots : slotsOf(request.valueSlots);
      const rows = (slots: readonly number[], width: number, more: number) =>
        Buffer.from(Float32Array.from(slots.flatMap((slot) => Array<number>(width).fill(slot + more))).buffer);
      return {
        bundleId: request.bundleId,
        keyRows: rows(keySlots, keyWidth, 0),
        valueRows: rows(valueSlots, valueWidth, 0.5),
        elementType: 'ELEMENT_TYPE_FLOAT32' as const,
        ...overrides,
      };
    },
    Describe: unused,
    async *FetchBundle() {},
    async *WatchBundles() {},
    ReportBundles: unused,
    ListBundles: unused,
    ListFollowers: unused,
    SetCandidate: unused,
    CancelCandidate: unused,
    Activate: unused,
    ReportSlotUsage: unused,
    GetPoolHealth: unused,
    NameItems: unused,
    Rollback: unused,
    NoteRecordsChange: unused,
  });
  const { address } = await server.start();
  pool = createGrpcClient('PoolService', address);
  poolRows = createPoolRows(pool);
});
afterAll(async () => {
  pool.close();
  await server.drain(0);
});
beforeEach(() => {
  calls = [];
  overrides = {};
});

/** A bundle with three groups: a pool, a codebook, and a pool of keys only. */
function threeGroups(route: Partial<RecordField> = {}): unknown {
  const manifest = JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8'));
  const group = (name: string, slots: number) => {
    const [keyWidth, valueWidth] = WIDTHS[name] ?? [];
    return { name, pool: { slots, keyWidth, valueWidth } };
  };
  const both = (route: string) => ({ key: { route }, value: { route } });
  const value = { kind: 'user', name: 'user_value', type: 'float16', width: 2 };
  Object.assign(manifest.record.fields[0], route);
  manifest.record.fields = [...manifest.record.fields, value];
  manifest.groups = [
    { ...group('history', manifest.record.fields[0].slots), ...both('route') },
    { ...group('user', 256), ...both('user_code') },
    { ...group('keys', manifest.record.fields[0].slots), key: { route: 'route' }, value: { user: 'user_value' } },
  ];
  const encodeOutput = { name: 'user_value', role: 'field', field: 'user_value', type: 'float32', shape: ['batch', 2] };
  manifest.graphs.encode.outputs.push(encodeOutput);
  manifest.graphs.rankKv.inputs = manifest.groups.flatMap(({ name }: { name: string }) =>
    ['key', 'value'].map((role) => ({ name: `${name}_${role}`, role, group: name, type: 'float32', shape: [] })),
  );
  return manifest;
}

function modelOf(manifest: unknown): BundleModel {
  return createBundleModel({
    manifestBytes: Buffer.from(JSON.stringify(manifest)),
    itemIds: JSON.parse(readFileSync(`${TARGET}/items.json`, 'utf8')).ids,
  });
}

/** The rows of a history with these routes and codes. */
function rowsOf(positions: readonly (readonly [route: number, code: number])[]): Uint8Array {
  const { strideBytes } = model.layout;
  const rows = new Uint8Array(positions.length * strideBytes);
  for (const [i, [route, code]] of positions.entries()) {
    rows[i * strideBytes + model.layout.field('route').offsetBytes] = route;
    rows[i * strideBytes + model.layout.field('user_code').offsetBytes] = code;
  }
  return rows;
}

function slotsOf(bytes: Uint8Array): number[] {
  return [...new Uint32Array(Uint8Array.from(bytes).buffer)];
}

describe('pool rows of several groups', () => {
  it('are gathered for each group from its own route field, each slot once', async () => {
    const rows = rowsOf([
      [9, 200],
      [3, 7],
      [9, 7],
    ]);
    const gathered = await poolRows.gather(model, rows, limits());
    const asked = calls.map(({ group, keySlots, valueSlots }) => [group, slotsOf(keySlots), slotsOf(valueSlots)]);
    expect(asked.sort()).toEqual([
      ['history', [3, 9], [3, 9]],
      ['keys', [3, 9], []],
      ['user', [7, 200], [7, 200]],
    ]);
    const feeds = poolRows.assemble(model, rows, gathered, NO_CANDIDATES);
    const widthOf = (name: string) => feeds[name]?.shape[1];
    const columnOf = (name: string) => {
      const width = widthOf(name) ?? 1;
      return [0, 1, 2].map((position) => Number(feeds[name]?.data[position * width]));
    };
    expect([columnOf('history_key'), columnOf('history_value')]).toEqual([
      [9, 3, 9],
      [9.5, 3.5, 9.5],
    ]);
    expect([columnOf('user_key'), columnOf('user_value')]).toEqual([
      [200, 7, 7],
      [200.5, 7.5, 7.5],
    ]);
    expect(['user_key', 'user_value', 'keys_key', 'keys_value'].map(widthOf)).toEqual([2, 3, 1, 2]);
    expect(columnOf('keys_key')).toEqual([9, 3, 9]);
  });

  it('are gathered by calls of at most 100,000 slots', async () => {
    const wide = modelOf(threeGroups({ type: 'uint24', slots: 300_000 }));
    const { layout } = wide;
    const rows = Buffer.alloc(200_001 * layout.strideBytes);
    for (let i = 0; i <= 200_000; i++) rows.writeUIntLE(i + 50_000, i * layout.strideBytes, 3);
    const gathered = await poolRows.gather(wide, rows, limits());
    const asked = calls.map(({ group, keySlots, valueSlots }) => [group, keySlots.length / 4, valueSlots.length / 4]);
    expect(asked.sort()).toEqual([
      ['history', 1, 1],
      ['history', 100_000, 100_000],
      ['history', 100_000, 100_000],
      ['keys', 1, 0],
      ['keys', 100_000, 0],
      ['keys', 100_000, 0],
      ['user', 1, 1],
    ]);
    const { keyRows, valueRows } = gathered.get('history') ?? fail();
    expect([keyRows.length, valueRows.length]).toEqual([4 * 200_001, 4 * 200_001]);
    for (const row of [0, 99_999, 100_000, 199_999, 200_000]) {
      expect([keyRows[4 * row], valueRows[4 * row + 3]]).toEqual([row + 50_000, row + 50_000.5]);
    }
  });

  it.each([
    ['rows of another bundle', { bundleId: 'f'.repeat(16) }, 'bundle_mismatch'],
    ['too few key rows', { keyRows: Buffer.alloc(4) }, 'bug'],
    ['too few value rows', { valueRows: Buffer.alloc(4) }, 'bug'],
  ])('are refused if the pool answers %s', async (_, answer, reason) => {
    overrides = answer;
    await expect(poolRows.gather(model, rowsOf([[9, 200]]), limits())).rejects.toMatchObject({ reason });
  });

  it('are not gathered for a user without history', async () => {
    const gathered = await poolRows.gather(model, new Uint8Array(0), limits());
    expect(calls).toEqual([]);
    const feeds = poolRows.assemble(model, new Uint8Array(0), gathered, NO_CANDIDATES);
    expect(Object.values(feeds).map(({ shape }) => shape[0])).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

function fail(): never {
  throw new Error('no rows were gathered');
}
