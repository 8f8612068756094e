import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GatherRequest__Output, WatchBundlesResponse } from '@collectivekv/contracts';
import { elementAt, encodingIdOf, parseManifest } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import type { CallContext } from '@collectivekv/rpc/server';
import { createMetrics } from '@collectivekv/service-kit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BundleShelf, createBundleShelf } from './bundle-shelf.js';
import { createFollowerReports, type FollowerReports } from './follower-reports.js';
import { createPoolHandlers } from './handlers.js';
import { createPoolMetrics } from './metrics.js';
import { createPoolHealth } from './pool-health.js';
import { copyBundles } from './two-bundles.fixture.js';

const copies = copyBundles('first', 'second', 'other');
const [first = '', second = '', other = ''] = copies.ids;
const metrics = createMetrics('test');
let engine: Engine;
let shelf: BundleShelf;
let handlers: ReturnType<typeof createPoolHandlers>;
let reports: FollowerReports;
/** The parts of requests that check nothing. */
const USUAL = { minCoverageBp: 0, force: false, knownChange: 0 };

beforeAll(async () => {
  engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 16 });
  shelf = await createBundleShelf({
    dirs: copies.dirs,
    preferred: 'first',
    engine,
    trust: undefined,
    activationFile: { read: async () => undefined, write: async () => true },
  });
  reports = createFollowerReports();
  handlers = createPoolHandlers({
    shelf,
    provider: 'cuda',
    device: 'cuda:1',
    precision: 'tf32',
    metrics: createPoolMetrics(metrics, engine, shelf),
    reports,
    health: createPoolHealth(shelf, 60_000),
    minCoverageBp: 9_500,
  });
});
afterAll(async () => {
  await engine.close();
  copies.remove();
});
beforeEach(async () => {
  await shelf.activate(first);
  metrics.registry.resetMetrics();
});

function callOf(draining = new AbortController().signal): CallContext {
  const { signal } = new AbortController();
  return { deadlineMs: Number.POSITIVE_INFINITY, ended: undefined, signal, draining, refusal: () => undefined };
}
const slotsOf = (...slots: number[]) => Buffer.from(Uint32Array.from(slots).buffer);
const gather = (request: Partial<GatherRequest__Output>) =>
  handlers.Gather(
    {
      bundleId: '',
      group: '',
      keySlots: slotsOf(3, 255),
      valueSlots: Buffer.alloc(0),
      elementType: 'ELEMENT_TYPE_UNSPECIFIED',
      ...request,
    },
    callOf(),
  );
const singles = (bytes: unknown) => new Float32Array(Uint8Array.from(bytes as Uint8Array).buffer);

describe('Describe', () => {
  it('gives the manifest byte for byte, and says which bundle is active', async () => {
    const manifests = copies.dirs.map((dir) => readFileSync(join(dir, 'bundle.json')));
    expect(await handlers.Describe({ bundleId: '' })).toEqual({
      bundleId: first,
      manifest: manifests[0],
      active: true,
      rollbackBundleId: '',
      provider: 'cuda',
      device: 'cuda:1',
      precision: 'tf32',
      loadedBundleIds: [first, second, other],
      encodingId: encodingIdOf(parseManifest(manifests[0] ?? Buffer.of())),
      latestChange: 1,
    });
    expect(await handlers.Describe({ bundleId: second })).toMatchObject({ manifest: manifests[1], active: false });
    await expect(handlers.Describe({ bundleId: 'no id' })).rejects.toMatchObject({ field: 'bundle_id' });
  });
});

describe('Gather', () => {
  it('gives value rows of the key slots if no value slots are sent', async () => {
    const tied = await gather({});
    expect(tied).toMatchObject({ bundleId: first, elementType: 'ELEMENT_TYPE_FLOAT32' });
    const keyWidth = singles(tied.keyRows).length / 2;
    expect(Number.isInteger(keyWidth)).toBe(true);
    const apart = await gather({ valueSlots: slotsOf(255) });
    expect(apart.keyRows).toEqual(tied.keyRows);
    const values = singles(tied.valueRows);
    expect(singles(apart.valueRows)).toEqual(values.slice(values.length / 2));
  });

  it('gives the same rows in half precision', async () => {
    const [full, half] = [await gather({}), await gather({ elementType: 'ELEMENT_TYPE_FLOAT16' })];
    expect(half.elementType).toBe('ELEMENT_TYPE_FLOAT16');
    const wanted = singles(full.keyRows);
    const data = new Uint16Array(Uint8Array.from(half.keyRows as Uint8Array).buffer);
    expect(data).toHaveLength(wanted.length);
    const got = Float32Array.from(data, (_, i) => elementAt({ type: 'float16', data, shape: [data.length] }, i));
    for (const [i, value] of wanted.entries()) expect(Math.abs((got[i] ?? Number.NaN) - value)).toBeLessThan(2 ** -8);
  });

  it('counts the rows of each part', async () => {
    await gather({ valueSlots: slotsOf(1) });
    const text = await metrics.registry.metrics();
    expect(text).toMatch(/ckv_pool_gathered_rows_total\{.*part="key".*\} 2/);
    expect(text).toMatch(/ckv_pool_gathered_rows_total\{.*part="value".*\} 1/);
  });

  it.each([
    ['key_slots: has 5 bytes, a multiple of 4 is required', { keySlots: Buffer.alloc(5) }],
    ['key_slots[1]: is 256, the pool has 256 slots', { keySlots: slotsOf(0, 256) }],
    ['value_slots[0]: is 300', { valueSlots: slotsOf(300) }],
    ['key_slots: has 100001 slots, at most 100000 are allowed', { keySlots: Buffer.alloc(400_004) }],
    ['group: "none" is not a KV group of the bundle; use one of: history, user', { group: 'none' }],
    ['element_type: is not a known type', { elementType: 'float64' as never }],
    [`bundle_id: ${'f'.repeat(16)} is not loaded`, { bundleId: 'f'.repeat(16) }],
  ] satisfies [string, Partial<GatherRequest__Output>][])('refuses a request if %s', async (message, request) => {
    await expect(gather(request)).rejects.toThrow(message);
  });
});

describe('Activate and Rollback', () => {
  it('switch the active bundle, and answer what was and what is active', async () => {
    expect(await handlers.Activate({ bundleId: second, ...USUAL })).toEqual({ previousBundleId: first });
    expect(await handlers.Describe({ bundleId: '' })).toMatchObject({ rollbackBundleId: first });
    expect(await handlers.Rollback(USUAL)).toEqual({
      activeBundleId: first,
      previousBundleId: second,
      endedCanaryIds: [],
    });
    await expect(handlers.Activate({ bundleId: '', ...USUAL })).rejects.toThrow('bundle_id: is missing');
  });

  it('put the active bundle first among those that are loaded', async () => {
    await handlers.Activate({ bundleId: second, ...USUAL });
    expect(await handlers.Describe({ bundleId: '' })).toMatchObject({ loadedBundleIds: [second, first, other] });
  });

  it('check a rollback to a bundle whose records were deleted', async () => {
    await handlers.Activate({ bundleId: other, ...USUAL, force: true });
    await handlers.Activate({ bundleId: second, ...USUAL, force: true });
    const { encodingId } = await handlers.Describe({ bundleId: other });
    const change = { encodingId: encodingId ?? '', deleted: true };
    const previous = { bundleId: other, state: 'BUNDLE_STATE_PREVIOUS', shareBp: 0, recordsChange: 2 };
    expect(await handlers.NoteRecordsChange(change)).toEqual({ bundles: [previous] });
    await expect(handlers.Rollback(USUAL)).rejects.toMatchObject({ reason: 'bundle_cold' });
    expect(await handlers.Rollback({ ...USUAL, force: true })).toMatchObject({ activeBundleId: other });
    const wrong = handlers.NoteRecordsChange({ encodingId: 'x', deleted: false });
    await expect(wrong).rejects.toThrow('encoding_id: is not 16 hexadecimal');
  });

  it('show in the metrics which bundle is active', async () => {
    await handlers.Activate({ bundleId: second, ...USUAL });
    const text = await metrics.registry.metrics();
    expect(text).toMatch(new RegExp(`ckv_bundle_active\\{.*bundle="${second}".*\\} 1`));
    expect(text).toMatch(new RegExp(`ckv_bundle_active\\{.*bundle="${first}".*\\} 0`));
  });
});

describe('a switch whose caller was stopped before it', () => {
  const note = async () => {
    const { encodingId = '' } = await handlers.Describe({ bundleId: other });
    return handlers.NoteRecordsChange({ encodingId, deleted: false });
  };
  const knownChange = async () => (await handlers.Describe({ bundleId: '' })).latestChange ?? 0;

  it.each([
    ['activate', (known: object) => handlers.Activate({ bundleId: other, ...USUAL, force: true, ...known })],
    [
      'begin a canary',
      (known: object) => handlers.SetCandidate({ bundleId: other, shareBp: 500, ...USUAL, force: true, ...known }),
    ],
    ['roll back', (known: object) => handlers.Rollback({ ...USUAL, ...known })],
    ['cancel', (known: object) => handlers.CancelCandidate({ bundleId: other, knownChange: 0, ...known })],
  ])('does not %s after a records change of the encoding', async (what, call) => {
    if (what === 'roll back') {
      await handlers.Activate({ bundleId: other, ...USUAL, force: true });
      await handlers.Activate({ bundleId: second, ...USUAL, force: true });
    }
    if (what === 'cancel') await handlers.SetCandidate({ bundleId: other, shareBp: 0, ...USUAL });
    const known = { knownChange: await knownChange() };
    await note();
    const before = shelf.announcement();
    const refused = { reason: 'conflict', field: 'known_change' };
    await expect(call(known)).rejects.toMatchObject(refused);
    expect(shelf.announcement()).toEqual(before);
    await call({ knownChange: await knownChange() });
    expect(shelf.announcement()).not.toEqual(before);
    await handlers.CancelCandidate({ bundleId: other, knownChange: 0 }).catch(() => undefined);
  });

  it('goes on after a records change of another encoding', async () => {
    const known = { knownChange: await knownChange() };
    await note();
    expect(await handlers.Activate({ bundleId: second, ...USUAL, ...known })).toEqual({ previousBundleId: first });
  });
});

describe('a bundle with another encoding', () => {
  const report = (warmCount: number) =>
    handlers.ReportBundles({
      service: 'ranking',
      replicaId: 'one',
      bundles: [{ bundleId: other, loaded: true, sampledCount: 1_000, warmCount, recordsChange: 0 }],
    });
  const canary = (request: object) => handlers.SetCandidate({ bundleId: other, shareBp: 500, ...USUAL, ...request });
  const activate = (request: object) => handlers.Activate({ bundleId: other, ...USUAL, ...request });
  afterEach(() => handlers.CancelCandidate({ bundleId: other, knownChange: 0 }).catch(() => undefined));

  it('becomes warm without a check, and serves when ranking has found it warm', async () => {
    await canary({ shareBp: 0 });
    await expect(activate({})).rejects.toMatchObject({ reason: 'bundle_cold', field: 'bundle_id' });
    await expect(activate({})).rejects.toThrow('has looked at 0 rank requests, 100 are required; wait until users');
    await report(949);
    await expect(canary({})).rejects.toThrow('94.9% of 1000 rank requests have a warm record, 95% are required; build');
    await expect(activate({})).rejects.toMatchObject({ reason: 'bundle_cold' });
    await report(950);
    await canary({});
    expect(await activate({})).toEqual({ previousBundleId: first });
  });

  it('is to be made warm first, if ranking cannot look for its records', async () => {
    for (const bundleId of [second, first]) await handlers.Activate({ bundleId, ...USUAL, force: true });
    expect(shelf.announcement().bundles.map(({ bundleId }) => bundleId)).toEqual([first, second]);
    const announced = (...ids: string[]) => reports.keepOnly(ids.map((bundleId) => ({ bundleId, recordsChange: 0 })));
    announced(first, second);
    const activating = activate({});
    announced(first, second, other);
    const advice = `begin its records first: "ckv backfill start --bundle ${other}"; if it has records from before,`;
    await expect(activating).rejects.toThrow(advice);
  });

  it('serves below the coverage if the request says so', async () => {
    await report(600);
    await expect(activate({ minCoverageBp: 6_001 })).rejects.toMatchObject({ reason: 'bundle_cold' });
    expect(await activate({ minCoverageBp: 6_000 })).toEqual({ previousBundleId: first });
    await handlers.Rollback(USUAL);
    await report(0);
    expect(await activate({ force: true })).toEqual({ previousBundleId: first });
  });

  it('may serve fewer users than before without a check', async () => {
    await canary({ force: true });
    await report(0);
    await expect(canary({ shareBp: 501 })).rejects.toMatchObject({ reason: 'bundle_cold' });
    await canary({ shareBp: 499 });
  });
});

describe('ReportBundles', () => {
  const request = { service: 'updater', replicaId: 'host:1', bundles: [] };

  it('is listed for operators', async () => {
    await handlers.ReportBundles(request);
    expect((await handlers.ListFollowers()).followers).toContainEqual(request);
  });

  it.each([
    ['service: is missing or empty', { service: '' }],
    ['service: has 65 bytes', { service: 's'.repeat(65) }],
    ['replica_id: is missing or empty', { replicaId: '' }],
    [
      'bundle_id: is not 16 hexadecimal characters',
      { bundles: [{ bundleId: 'x', loaded: true, sampledCount: 0, warmCount: 0, recordsChange: 0 }] },
    ],
    ['bundles: has 65 entries', { bundles: Array(65).fill({ bundleId: first }) }],
  ])('is refused if %s', async (message, wrong) => {
    await expect(handlers.ReportBundles({ ...request, ...wrong })).rejects.toThrow(message);
  });
});

describe('SetCandidate and CancelCandidate', () => {
  it('begin and end a canary, which the metrics show', async () => {
    await handlers.SetCandidate({ bundleId: second, shareBp: 250, ...USUAL });
    const shares = async () => (await metrics.registry.getSingleMetricAsString('ckv_bundle_canary_share')).split('\n');
    expect((await shares()).slice(2)).toEqual([expect.stringMatching(new RegExp(`bundle="${second}".* 0.025$`))]);
    await handlers.CancelCandidate({ bundleId: second, knownChange: 0 });
    expect((await shares()).slice(2)).toEqual([]);
  });

  it('are refused without a bundle, and with a share that is too large', async () => {
    await expect(handlers.SetCandidate({ bundleId: '', shareBp: 1, ...USUAL })).rejects.toThrow(
      'bundle_id: is missing',
    );
    await expect(handlers.CancelCandidate({ bundleId: '', knownChange: 0 })).rejects.toThrow('bundle_id: is missing');
    await expect(handlers.SetCandidate({ bundleId: second, shareBp: 10_001, ...USUAL })).rejects.toThrow(
      'share_bp: is 10001, at most 10000 is allowed',
    );
  });
});

describe('WatchBundles', () => {
  it('announces every change, and ends when the service drains', async () => {
    const draining = new AbortController();
    const seen: WatchBundlesResponse[] = [];
    for await (const announcement of handlers.WatchBundles({}, callOf(draining.signal))) {
      seen.push(announcement);
      if (seen.length === 1) await shelf.activate(second);
      else draining.abort();
    }
    expect(seen.map(({ activeBundleId }) => activeBundleId)).toEqual([first, second]);
    expect(seen[1]?.bundleIds).toEqual([second, first]);
    expect(seen[1]?.bundles).toEqual([
      { bundleId: second, state: 'BUNDLE_STATE_ACTIVE', shareBp: 0, recordsChange: 0 },
      { bundleId: first, state: 'BUNDLE_STATE_PREVIOUS', shareBp: 0, recordsChange: 0 },
    ]);
  });
});

describe('FetchBundle', () => {
  it('streams the bundle that is asked for', async () => {
    const paths = new Set();
    let manifest = Buffer.alloc(0);
    for await (const { path, chunk } of handlers.FetchBundle({ bundleId: second }, callOf())) {
      paths.add(path);
      if (path === 'bundle.json') manifest = Buffer.concat([manifest, chunk as Uint8Array]);
    }
    expect(manifest).toEqual(readFileSync(join(copies.dirs[1] ?? '', 'bundle.json')));
    expect([...paths]).toEqual(['bundle.json', ...shelf.get(second).model.manifest.files.map(({ path }) => path)]);
  });
});

describe('NameItems', () => {
  it('returns the ids of the catalogue, and none for the unknown item and beyond it', async () => {
    const { items, manifest } = shelf.get(first).model;
    const answer = await handlers.NameItems({ bundleId: first, indices: slotsOf(1, 0, 2, manifest.items.count) });
    expect(answer.itemIds).toEqual([items.idAt(1), '', items.idAt(2), '']);
    expect(answer.itemIds?.[0]).not.toBe('');
  });

  it.each([
    ['a part of an index', Buffer.alloc(3), 'indices: has 3 bytes'],
    ['too many', Buffer.alloc(40_004), 'indices: has 10001 entries'],
  ])('refuses %s', async (_, indices, message) => {
    await expect(handlers.NameItems({ bundleId: first, indices })).rejects.toThrow(message);
  });
});

describe('ReportSlotUsage and GetPoolHealth', () => {
  it('return what updaters reported, for every bundle of the encoding', async () => {
    const { encodingId, manifest } = shelf.get(first).model;
    const route = manifest.record.fields.find(({ kind }) => kind === 'route');
    if (route?.kind !== 'route') throw new Error('the bundle has no route field');
    const report = { field: route.name, slots: slotsOf(0, route.slots - 1), counts: slotsOf(3, 1) };
    await handlers.ReportSlotUsage({ encodingId, fields: [report] });
    const answer = await handlers.GetPoolHealth({ bundleId: first });
    expect(answer).toMatchObject({ bundleId: first, encodingId, windowS: 60 });
    expect(answer.fields?.find(({ field }) => field === route.name)).toMatchObject({
      slotCount: route.slots,
      recent: { positionCount: 4, usedCount: 2, rankShares: [0.75, 0.25] },
      trained: null,
      drift: null,
      runs: { runSlots: Math.ceil(route.slots / 1_024) },
    });
  });

  const field = { field: 'route', slots: slotsOf(1), counts: slotsOf(1) };
  it.each([
    ['no encoding', { encodingId: '', fields: [] }, 'encoding_id'],
    ['an encoding of no bundle', { encodingId: '0'.repeat(16), fields: [] }, 'encoding_id'],
    ['too many fields', { encodingId: 'a'.repeat(16), fields: Array(65).fill(field) }, 'fields: has 65'],
    [
      'a part of a slot',
      { encodingId: 'a'.repeat(16), fields: [{ ...field, slots: Buffer.alloc(3) }] },
      'fields[0].slots: has 3 bytes',
    ],
    [
      'too many slots',
      { encodingId: 'a'.repeat(16), fields: [{ ...field, counts: Buffer.alloc(800_004) }] },
      'fields[0].counts: has 800004 bytes',
    ],
  ])('refuse %s', async (_, request, message) => {
    await expect(handlers.ReportSlotUsage(request)).rejects.toThrow(message);
  });
});
