import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LoadedBundle } from '@collectivekv/bundles';
import { CkvError, createBundleModel, decodeRecord, encodeRecord, type Interaction } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { createLogger, createMetrics } from '@collectivekv/service-kit';
import { createMemoryUserStore, type UserStore } from '@collectivekv/user-store';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createRecordWriter } from './record-writer.js';

const TARGET = fileURLToPath(new URL('../../../../test/fixtures/bundles/target', import.meta.url));
const MAX_POSITIONS = 20;
const unused = () => Promise.reject(new CkvError('bug', 'unused'));

let store: UserStore;
let reads: number[];
let deletedRows: number[];
/** The row tolerance of every deletion. */
let tolerances: number[][];
/** Interactions of every run of an encode graph. */
let runs: number[];
/** Number of the next runs of encode graphs that fail. */
let brokenRuns: number;
let appendedBytes: number[];
/** The bundles of every DeleteRecord call. */
let lookedFor: string[][];
/** Ids of the noted bundles. */
let noted: Set<string>;
const recordBundles = {
  async note(ids: readonly string[]) {
    for (const id of ids) noted.add(id);
  },
  all: async () => [...noted],
};
/** The end of the fence of every append and deletion, Unix ms. */
let fences: number[];
let server: GrpcServer;
let userCache: GrpcClient<'UserCacheService'>;

beforeAll(async () => {
  server = createGrpcServer({
    bind: '127.0.0.1:0',
    log: createLogger('test', 'silent'),
    metrics: createMetrics('test'),
  });
  server.add('UserCacheService', {
    async GetRecords({ bundleId, userIds }) {
      reads.push(userIds.length);
      const records = await store.getRecords(bundleId, userIds);
      return { records: records.map((bytes) => Buffer.from(bytes ?? [])) };
    },
    async AppendPositions({ validUntilMs, appends, ...shape }) {
      fences.push(validUntilMs);
      appendedBytes.push(appends.reduce((sum, { rows }) => sum + rows.length, 0));
      return { outcomes: await store.appendPositions(shape, appends, { validUntilMs }) };
    },
    async DeletePosition({ bundleId, userId, eventHash, row, rowTolerance, validUntilMs }) {
      fences.push(validUntilMs);
      deletedRows.push(row.length);
      tolerances.push([...rowTolerance]);
      return store.deletePosition(bundleId, userId, { eventHash, row, tolerance: rowTolerance }, { validUntilMs });
    },
    ReplaceRecord: unused,
    async DeleteRecord({ userId, bundleIds, keepRecords, validUntilMs }) {
      fences.push(validUntilMs);
      lookedFor.push(bundleIds);
      const bundles = await store.deleteUser(userId, { bundleIds, keepRecords }, { validUntilMs });
      return { deletedCount: bundles.length, bundles };
    },
    Stats: unused,
  });
  const { address } = await server.start();
  userCache = createGrpcClient('UserCacheService', address);
});
afterAll(async () => {
  userCache.close();
  await server.drain(0);
});
beforeEach(() => {
  store = createMemoryUserStore();
  reads = [];
  deletedRows = [];
  tolerances = [];
  runs = [];
  brokenRuns = 0;
  appendedBytes = [];
  lookedFor = [];
  noted = new Set();
  fences = [];
});

/** A bundle with another encode graph: a route is the item, or a hash of the item and of all routes before it. */
function bundleOf(
  name: string,
  { withHistory = false, wideBytes = 0, steps = 0, maxPositions = MAX_POSITIONS },
): LoadedBundle {
  const manifest = JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8'));
  const routes = { name: 'routes', role: 'routes', field: 'route', type: 'int64', shape: ['positions'] };
  if (withHistory) manifest.graphs.encode.inputs.push(routes);
  if (wideBytes > 0) {
    const width = wideBytes / 4;
    manifest.record.fields.push({ kind: 'user', name: 'wide', type: 'float32', width });
    const wide = { name: 'wide', role: 'field', field: 'wide', type: 'float32', shape: ['batch', width] };
    manifest.graphs.encode.outputs.push(wide);
  }
  if (steps > 0) {
    manifest.record.fields.push({
      kind: 'user',
      name: 'step',
      type: 'int8',
      width: steps,
      scale: Array(steps).fill(1),
    });
    const step = { name: 'step', role: 'field', field: 'step', type: 'float32', shape: ['batch', steps] };
    manifest.graphs.encode.outputs.push(step);
  }
  const model = createBundleModel({
    manifestBytes: Buffer.from(JSON.stringify({ ...manifest, name, maxPositions })),
    itemIds: JSON.parse(readFileSync(`${TARGET}/items.json`, 'utf8')).ids,
  });
  const graphs: LoadedBundle['graphs'] = {
    async run(_, feeds) {
      const items = [...(feeds.item_index?.data ?? [])].map(Number);
      runs.push(items.length);
      if (brokenRuns-- > 0) throw new CkvError('bug', 'broken');
      const seen = [...(feeds.routes?.data ?? [])].map(Number);
      const encoded = items.map((item) => {
        const route = seen.reduce((hash, before) => (hash * 31 + before + 1) % 251, item % 251);
        if (withHistory) seen.push(route);
        return route;
      });
      const shape = [items.length, 1];
      return {
        route: { type: 'int64', data: BigInt64Array.from(encoded, BigInt), shape },
        user_code: { type: 'int64', data: new BigInt64Array(items.length), shape },
        step: { type: 'float32', data: new Float32Array(steps * items.length), shape: [items.length, -1] },
        wide: { type: 'float32', data: new Float32Array((wideBytes / 4) * items.length), shape: [items.length, -1] },
      };
    },
    runEach: (graph, parts) => Promise.all(parts.map((feeds) => graphs.run(graph, feeds))),
    idleWorkerCount: 1,
    close: async () => undefined,
  };
  return { dir: '', model, graphs, splitsCandidates: false, poolTables: undefined, close: async () => undefined };
}

const behind = bundleOf('behind', { withHistory: true });
const alone = bundleOf('alone', { withHistory: false });

const writerFor = (...bundles: LoadedBundle[]) =>
  createRecordWriter({ bundles: { all: () => bundles }, recordBundles, userCache, batchSize: 7, concurrency: 3 });
const soon = () => Date.now() + 5_000;

/** Interactions of a user by the numbers of their events. */
const interactionsOf = (userId: string, events: readonly number[]): Interaction[] =>
  events.map((event) => ({
    eventId: `${userId}-${event}`,
    userId,
    itemId: `i${String((event * 37) % 300).padStart(4, '0')}`,
    timestampMs: 1_700_000_000_000 + event,
    action: '',
    features: {},
  }));
const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

async function append(writer: ReturnType<typeof writerFor>, ...lists: Interaction[][]) {
  const encoded = await writer.encode(lists.flat());
  return writer.append(new Map(lists.map((list) => [list[0]?.userId ?? '', list])), encoded, soon);
}

async function recordOf({ model }: LoadedBundle, userId: string) {
  const [bytes] = await store.getRecords(model.id, [userId]);
  if (!bytes) throw new Error('no record');
  return decodeRecord(bytes, { bundleId: model.id, strideBytes: model.layout.strideBytes });
}

/** Returns the record of events that are appended one by one. */
async function recordOneByOne(bundle: LoadedBundle, events: readonly number[]) {
  store = createMemoryUserStore();
  for (const one of interactionsOf('u', events)) await append(writerFor(bundle), [one]);
  return recordOf(bundle, 'u');
}

describe('a bundle that encodes with history', () => {
  it('gives the same record for any cut into waves, with repeated waves and repeated events', async () => {
    // With its repeats, a wave has at most 14.
    const wave = fc.record({
      size: fc.integer({ min: 1, max: 10 }),
      tries: fc.integer({ min: 1, max: 2 }),
      repeats: fc.integer({ min: 0, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(wave, { minLength: 1, maxLength: 4 }), async (waves) => {
        const total = waves.reduce((sum, { size }) => sum + size, 0);
        const wanted = await recordOneByOne(behind, upTo(total));
        store = createMemoryUserStore();
        const writer = writerFor(behind);
        let from = 0;
        for (const { size, tries, repeats } of waves) {
          const fresh = upTo(size, from);
          // Events that the record knows already, and a duplicated one.
          const events = [...upTo(Math.min(repeats, from), Math.max(0, from - repeats)), ...fresh, ...fresh.slice(-1)];
          for (let i = 0; i < tries; i++) {
            const counts = await append(writer, interactionsOf('u', events));
            const appliedCount = i === 0 ? size : 0;
            expect(counts).toEqual({ appliedCount, duplicateCount: events.length - appliedCount });
          }
          from += size;
        }
        expect(await recordOf(behind, 'u')).toEqual(wanted);
      }),
      { numRuns: 20 },
    );
  });

  it('encodes many users, each behind their own rows', async () => {
    const users = Array.from({ length: 150 }, (_, i) => `u${i}`);
    const writer = writerFor(behind);
    for (const from of [0, 3]) {
      await append(writer, ...users.map((userId, i) => interactionsOf(userId, upTo(3, from + i))));
    }
    expect(reads).toEqual([64, 64, 22, 64, 64, 22]);
    const sample = [0, 77, 149];
    const records = await Promise.all(sample.map((i) => recordOf(behind, `u${i}`)));
    for (const [at, i] of sample.entries()) {
      const wanted = await recordOneByOne(behind, [...upTo(3, i), ...upTo(3, 3 + i)]);
      expect(records[at]?.rows).toEqual(wanted.rows);
    }
  });

  it('encodes behind nothing if the record is unreadable', async () => {
    await store.replaceRecord(behind.model.id, 'u', Buffer.from('no record'));
    await append(writerFor(behind), interactionsOf('u', upTo(3)));
    const { rows } = await recordOf(behind, 'u');
    expect(rows).toEqual((await recordOneByOne(behind, upTo(3))).rows);
  });

  it("refuses another bundle's record, and appends nothing for anybody in that call", async () => {
    const foreign = encodeRecord({
      bundleId: 'f'.repeat(16),
      strideBytes: behind.model.layout.strideBytes,
      lifetimeCount: 0,
      lastEventMs: 0,
      recentEvents: new Uint8Array(0),
      rows: new Uint8Array(0),
    });
    await store.replaceRecord(behind.model.id, 'bad', foreign);
    const [bad, good] = ['bad', 'good'].map((userId) => interactionsOf(userId, upTo(2))) as [
      Interaction[],
      Interaction[],
    ];
    await expect(append(writerFor(behind), bad, good)).rejects.toMatchObject({ reason: 'bundle_mismatch' });
    await expect(recordOf(behind, 'good')).rejects.toThrow('no record');
    expect(appendedBytes).toEqual([]);
    expect(await append(writerFor(behind), good)).toEqual({ appliedCount: 2, duplicateCount: 0 });
  });

  it('reads the fence when the rows are encoded, not before', async () => {
    const writer = writerFor(behind);
    const interactions = interactionsOf('u', upTo(2));
    const encoded = await writer.encode(interactions);
    const asked: number[] = [];
    const late = writer.append(new Map([['u', interactions]]), encoded, () => {
      asked.push(reads.length);
      return 1;
    });
    await expect(late).rejects.toMatchObject({ reason: 'deadline' });
    expect(asked).toEqual([1]);
    expect(fences).toEqual([1]);
    await expect(recordOf(behind, 'u')).rejects.toThrow('no record');
  });

  it('deletes a position by its event alone', async () => {
    const writer = writerFor(behind);
    const interactions = interactionsOf('u', upTo(MAX_POSITIONS));
    for (const one of interactions) await append(writer, [one]);
    const [old, recent] = [interactions[2], interactions.at(-2)];
    if (!old || !recent) throw new Error('no interaction');
    const newest = interactions.at(-1) ?? recent;
    expect(await writer.forget(recent, soon)).toMatchObject([{ positionCount: 1, remainder: 'later_rows' }]);
    expect(await writer.forget(recent, soon)).toMatchObject([{ positionCount: 0, remainder: 'later_rows' }]);
    expect(await writer.forget(newest, soon)).toMatchObject([{ positionCount: 1, remainder: 'nothing' }]);
    expect(await writer.forget(old, soon)).toMatchObject([{ positionCount: 0, remainder: 'not_found' }]);
    expect(deletedRows).toEqual([0, 0, 0, 0]);
    expect((await recordOf(behind, 'u')).positionCount).toBe(MAX_POSITIONS - 2);
  });
});

describe('a bundle of wide rows', () => {
  it('appends as many users in a call as fit its message', async () => {
    const wide = bundleOf('wide', { wideBytes: 64_000 });
    const users = Array.from({ length: 20 }, (_, i) => interactionsOf(`u${i}`, upTo(14)));
    expect(await append(writerFor(wide), ...users)).toEqual({ appliedCount: 280, duplicateCount: 0 });
    expect(appendedBytes.length).toBe(3);
    expect(Math.max(...appendedBytes)).toBeLessThan(9 * 1024 * 1024);
    expect((await recordOf(wide, 'u19')).positionCount).toBe(14);
  });
});

describe('a bundle of long records that encodes with history', () => {
  const long = bundleOf('long', { withHistory: true, wideBytes: 64_000 });

  it('reads as many records together as fit a message', async () => {
    const users = Array.from({ length: 8 }, (_, i) => interactionsOf(`u${i}`, upTo(2)));
    await append(writerFor(long), ...users);
    expect(reads).toEqual([6, 2]);
  });

  it('reads one record alone if no two fit a message', async () => {
    const longer = bundleOf('longer', { withHistory: true, wideBytes: 64_000, maxPositions: 1_000 });
    await append(writerFor(longer), interactionsOf('a', [1]), interactionsOf('b', [1]));
    expect(reads).toEqual([1, 1]);
  });
});

describe('the writer', () => {
  it('throws dependency_unavailable before a bundle is loaded', async () => {
    const [interaction] = interactionsOf('u', [1]);
    if (!interaction) throw new Error('no interaction');
    await expect(writerFor().encode([interaction])).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    await expect(writerFor().forget(interaction, soon)).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  });

  it('counts the items and actions that the active bundle does not know', async () => {
    const [first, ...others] = interactionsOf('u', [1, 2, 3]).map((one) => ({ ...one, action: 'like' }));
    if (!first) throw new Error('no interaction');
    const strange = [
      { ...first, itemId: 'nothing' },
      { ...first, action: 'dance' },
      { ...first, action: '' },
    ];
    expect(await writerFor(alone, behind).encode([...strange, ...others])).toMatchObject({
      unknownItemCount: 1,
      unknownActionCount: 2,
    });
  });

  it('encodes in runs of the batch size', async () => {
    const interactions = interactionsOf('u', upTo(20));
    const { bundles } = await writerFor(alone).encode(interactions);
    expect(runs).toEqual([7, 7, 6]);
    const [one] = bundles;
    expect(one?.encoded?.rows.length).toBe(20 * alone.model.layout.strideBytes);
    expect(interactions.map((interaction) => one?.encoded?.rowOf.get(interaction))).toEqual(upTo(20));
  });

  it('encodes nothing before the append if the rows depend on the history', async () => {
    const { bundles } = await writerFor(behind).encode(interactionsOf('u', upTo(3)));
    expect(runs).toEqual([]);
    expect(bundles).toMatchObject([{ bundle: behind, encoded: undefined }]);
  });

  it('starts no further user after a failed run, and appends nothing', async () => {
    const users = Array.from({ length: 10 }, (_, i) => interactionsOf(`u${i}`, [1]));
    brokenRuns = 1;
    await expect(append(writerFor(behind), ...users)).rejects.toMatchObject({ reason: 'bug' });
    expect(runs.length).toBe(3); // as many as run at once
    expect(appendedBytes).toEqual([]);
  });

  it('calls nobody for users without a new interaction', async () => {
    await append(writerFor(behind), interactionsOf('u', [1]));
    expect(await append(writerFor(behind), interactionsOf('u', [1]))).toEqual({ appliedCount: 0, duplicateCount: 1 });
    expect(appendedBytes.length).toBe(1);
  });

  it('keeps the time of the newest interaction', async () => {
    await append(writerFor(alone), interactionsOf('u', [5, 3]));
    expect((await recordOf(alone, 'u')).lastEventMs).toBe(1_700_000_000_005);
  });

  it('searches by the event alone for a removal without an item', async () => {
    const [interaction] = interactionsOf('u', [1]);
    if (!interaction) throw new Error('no interaction');
    await append(writerFor(alone), [interaction]);
    const forgotten = await writerFor(alone).forget({ ...interaction, itemId: '' }, soon);
    expect(forgotten).toEqual([
      { bundleId: alone.model.id, recordCount: 0, quarantinedCount: 0, positionCount: 1, remainder: 'nothing' },
    ]);
    expect([deletedRows, tolerances]).toEqual([[0], [[]]]);
  });

  it('allows the int8 fields of a row to differ by one step, and no other field', async () => {
    const stepped = bundleOf('stepped', { steps: 2 });
    const [interaction] = interactionsOf('u', [1]);
    if (!interaction) throw new Error('no interaction');
    await append(writerFor(stepped), [interaction]);
    expect(await writerFor(stepped).forget(interaction, soon)).toMatchObject([{ positionCount: 1 }]);
    expect(tolerances).toEqual([[0, 0, 1, 1]]);
  });

  it('reads the fence of a deletion when the row is encoded, not before', async () => {
    const [interaction] = interactionsOf('u', [1]);
    if (!interaction) throw new Error('no interaction');
    await append(writerFor(alone), [interaction]);
    runs = [];
    fences = [];
    const endsMs = [Date.now() + 60_000, 1]; // before and after the run
    const late = writerFor(alone).forget(interaction, () => endsMs[runs.length] ?? 0);
    await expect(late).rejects.toMatchObject({ reason: 'deadline' });
    expect(fences).toEqual(endsMs);
    expect((await recordOf(alone, 'u')).positionCount).toBe(1);
  });

  it('finds nothing to delete for a user without a record', async () => {
    const [interaction] = interactionsOf('u', [1]);
    if (!interaction) throw new Error('no interaction');
    expect(await writerFor(alone, behind).forget(interaction, soon)).toEqual([]);
    expect(deletedRows).toEqual([]);
  });

  it('throws other failures of a deletion', async () => {
    await store.replaceRecord(alone.model.id, 'u', Buffer.from('garbage'));
    const [interaction] = interactionsOf('u', [1]);
    if (!interaction) throw new Error('no interaction');
    await expect(writerFor(alone).forget(interaction, soon)).rejects.toMatchObject({ reason: 'record_corrupt' });
  });
});

describe('bundles that the updater no longer follows', () => {
  const [first, second] = interactionsOf('u', [1, 2]);
  beforeEach(async () => {
    if (first && second) await append(writerFor(behind, alone), [first, second]);
  });

  it('are searched by the event alone, and may keep rows that learned from it', async () => {
    if (!first || !second) throw new Error('no interaction');
    const [ofBehind] = (await writerFor(alone).forget(first, soon)).filter(
      ({ bundleId }) => bundleId === behind.model.id,
    );
    expect(ofBehind).toMatchObject({ positionCount: 1, remainder: 'later_rows' });
    expect((await recordOf(behind, 'u')).positionCount).toBe(1);
    expect(lookedFor).toEqual([expect.arrayContaining([behind.model.id, alone.model.id])]);
  });

  it('are deleted with the user', async () => {
    const deleted = await writerFor(alone).deleteUser('u', soon);
    expect(deleted.map(({ bundleId, recordCount }) => [bundleId, recordCount]).sort()).toEqual(
      [behind.model.id, alone.model.id].sort().map((id) => [id, 1]),
    );
    expect(lookedFor).toEqual([expect.arrayContaining([behind.model.id, alone.model.id])]);
    await expect(recordOf(behind, 'u')).rejects.toThrow('no record');
    expect(await writerFor(alone).deleteUser('u', soon)).toEqual([]);
  });

  it('are not deleted after the fence has ended', async () => {
    await expect(writerFor(alone).deleteUser('u', () => 1)).rejects.toMatchObject({ reason: 'deadline' });
    expect((await recordOf(behind, 'u')).positionCount).toBe(2);
  });
});

describe('two bundles, one of which encodes with history', () => {
  it.each([
    ['with history', [behind, alone]],
    ['without history', [alone, behind]],
  ])('have records of their own, as if each were the only bundle; active: %s', async (_, bundles) => {
    const writer = writerFor(...bundles);
    let counts = { appliedCount: 0, duplicateCount: 0 };
    for (const events of [upTo(9), [8, ...upTo(9, 9)], upTo(6, 18)]) {
      counts = await append(writer, interactionsOf('u', events));
    }
    expect(counts).toEqual({ appliedCount: 6, duplicateCount: 0 });
    const [ofBehind, ofAlone] = [await recordOf(behind, 'u'), await recordOf(alone, 'u')];
    expect(ofBehind).toEqual(await recordOneByOne(behind, upTo(24)));
    expect(ofAlone).toEqual(await recordOneByOne(alone, upTo(24)));
    expect(ofBehind.rows).not.toEqual(ofAlone.rows);
  });

  it('go on without a bundle that is dropped between encoding and appending', async () => {
    const bundles = [behind, alone];
    const writer = createRecordWriter({
      bundles: { all: () => bundles },
      recordBundles,
      userCache,
      batchSize: 7,
      concurrency: 3,
    });
    const interactions = interactionsOf('u', upTo(3));
    const encoded = await writer.encode(interactions);
    bundles.shift();
    const counts = await writer.append(new Map([['u', interactions]]), encoded, soon);
    expect(counts).toEqual({ appliedCount: 3, duplicateCount: 0 });
    await expect(recordOf(behind, 'u')).rejects.toThrow('no record');
  });

  it('delete an old position only from the record whose row the content gives', async () => {
    const writer = writerFor(behind, alone);
    const interactions = interactionsOf('u', upTo(MAX_POSITIONS));
    for (const one of interactions) await append(writer, [one]);
    const [old] = interactions;
    if (!old) throw new Error('no interaction');
    const forgotten = await writer.forget(old, soon);
    expect(new Map(forgotten.map(({ bundleId, ...rest }) => [bundleId, rest]))).toEqual(
      new Map([
        [behind.model.id, { recordCount: 0, quarantinedCount: 0, positionCount: 0, remainder: 'not_found' }],
        [alone.model.id, { recordCount: 0, quarantinedCount: 0, positionCount: 1, remainder: 'nothing' }],
      ]),
    );
    expect((await recordOf(behind, 'u')).positionCount).toBe(MAX_POSITIONS);
    expect((await recordOf(alone, 'u')).positionCount).toBe(MAX_POSITIONS - 1);
  });
});
