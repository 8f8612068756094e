import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LoadedBundle } from '@collectivekv/bundles';
import { CkvError, createBundleModel, decodeRecord, type Interaction } from '@collectivekv/domain';
import { createGrpcClient, type GrpcClient } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { createLogger, createMetrics } from '@collectivekv/service-kit';
import { createMemoryUserStore, type UserStore } from '@collectivekv/user-store';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type AppendOptions, createRecordWriter } from './record-writer.js';

const TARGET = fileURLToPath(new URL('../../../../test/fixtures/bundles/target', import.meta.url));
/** Longest records of the bundles. */
export const MAX_POSITIONS = 20;
const unused = () => Promise.reject(new CkvError('bug', 'unused'));

/** The user-cache of a test, on a store in memory, and what it was asked. */
export interface WriterBench {
  store: UserStore;
  reads: number[];
  deletedRows: number[];
  /** The row tolerance of every deletion. */
  tolerances: number[][];
  /** Interactions of every run of an encode graph. */
  runs: number[];
  /** Number of the next runs of encode graphs that fail. */
  brokenRuns: number;
  appendedBytes: number[];
  /** The encodings of every DeleteRecord call. */
  lookedFor: string[][];
  /** Ids of the noted encodings. */
  noted: Set<string>;
  /** The end of the fence of every append and deletion, Unix ms. */
  fences: number[];
  userCache: GrpcClient<'UserCacheService'>;
}

/** See {@link WriterBench}. */
export const bench = {} as WriterBench;

/** The list of encodings that have records. */
export const recordEncodings = {
  async note(ids: readonly string[]) {
    for (const id of ids) bench.noted.add(id);
  },
  all: async () => [...bench.noted],
  stale: unused,
  forget: unused,
  takeTurn: unused,
};

/** Starts the user-cache before the tests of a file, empties it before each, and stops it after all. */
export function useRecordWriter(): void {
  let server: GrpcServer;
  beforeAll(async () => {
    server = createGrpcServer({
      bind: '127.0.0.1:0',
      log: createLogger('test', 'silent'),
      metrics: createMetrics('test'),
    });
    server.add('UserCacheService', {
      async GetRecords({ encodingId, userIds }) {
        bench.reads.push(userIds.length);
        const records = await bench.store.getRecords(encodingId, userIds);
        return { records: records.map((bytes) => Buffer.from(bytes ?? [])) };
      },
      async AppendPositions({ validUntilMs, appends, ...shape }) {
        bench.fences.push(validUntilMs);
        bench.appendedBytes.push(appends.reduce((sum, { rows }) => sum + rows.length, 0));
        return { outcomes: await bench.store.appendPositions(shape, appends, { validUntilMs }) };
      },
      async DeletePosition({ encodingId, userId, eventHash, row, rowTolerance, validUntilMs }) {
        bench.fences.push(validUntilMs);
        bench.deletedRows.push(row.length);
        bench.tolerances.push([...rowTolerance]);
        return bench.store.deletePosition(
          encodingId,
          userId,
          { eventHash, row, tolerance: rowTolerance },
          { validUntilMs },
        );
      },
      ReplaceRecord: unused,
      async DeleteRecord({ userId, encodingIds, keepRecords, validUntilMs }) {
        bench.fences.push(validUntilMs);
        bench.lookedFor.push(encodingIds);
        const encodings = await bench.store.deleteUser(userId, { encodingIds, keepRecords }, { validUntilMs });
        return { deletedCount: encodings.length, encodings };
      },
      async DropRecords({ encodingId, cursor, validUntilMs }) {
        bench.fences.push(validUntilMs);
        return bench.store.dropRecords(encodingId, cursor, { validUntilMs });
      },
      Stats: unused,
    });
    const { address } = await server.start();
    bench.userCache = createGrpcClient('UserCacheService', address);
  });
  afterAll(async () => {
    bench.userCache.close();
    await server.drain(0);
  });
  beforeEach(() => {
    bench.store = createMemoryUserStore();
    bench.reads = [];
    bench.deletedRows = [];
    bench.tolerances = [];
    bench.runs = [];
    bench.brokenRuns = 0;
    bench.appendedBytes = [];
    bench.lookedFor = [];
    bench.noted = new Set();
    bench.fences = [];
  });
}

/** A bundle with another encode graph: a route is the item, or a hash of the item and of all routes before it. */
export function bundleOf(
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
      bench.runs.push(items.length);
      if (bench.brokenRuns-- > 0) throw new CkvError('bug', 'broken');
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
    mostUsers: 1,
    joinRuns: () => undefined,
    drop: async () => undefined,
    close: async () => undefined,
  };
  const manifestBytes = Buffer.alloc(0);
  const close = async () => undefined;
  return { dir: '', model, manifestBytes, graphs, splitsCandidates: false, poolTables: undefined, close };
}

/** A bundle that encodes with history. */
export const behind = bundleOf('behind', { withHistory: true });
/** A bundle that encodes without history. */
export const alone = bundleOf('alone', { withHistory: false });

/** Creates a writer that follows these bundles. */
export const writerFor = (...bundles: LoadedBundle[]) =>
  createRecordWriter({
    bundles: { all: () => bundles, hold: () => () => undefined },
    recordEncodings,
    userCache: bench.userCache,
    batchSize: 7,
    concurrency: 3,
  });
/** Returns the end of a fence that has not ended. */
export const soon = () => Date.now() + 5_000;
/** Options of an append to the records of every encoding. */
export const ALL: AppendOptions = { validUntilMs: soon, writes: () => true };

/** Returns a user's interaction by the number of its event. */
export const interactionOf = (userId: string, event: number): Interaction => ({
  eventId: `${userId}-${event}`,
  userId,
  itemId: `i${String((event * 37) % 300).padStart(4, '0')}`,
  timestampMs: 1_700_000_000_000 + event,
  action: '',
  features: {},
});
/** Interactions of a user by the numbers of their events. */
export const interactionsOf = (userId: string, events: readonly number[]): Interaction[] =>
  events.map((event) => interactionOf(userId, event));
/** Returns so many numbers in order. */
export const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

/** Encodes and appends interactions, a list for each user. */
export async function append(writer: ReturnType<typeof writerFor>, ...lists: Interaction[][]) {
  const encoded = await writer.encode(lists.flat());
  const byUser = new Map(lists.map((list) => [list[0]?.userId ?? '', list]));
  const { appliedCount, duplicateCount } = await writer.append(byUser, encoded, ALL);
  return { appliedCount, duplicateCount };
}

/** Returns a user's record. */
export async function recordOf({ model }: LoadedBundle, userId: string) {
  const [bytes] = await bench.store.getRecords(model.encodingId, [userId]);
  if (!bytes) throw new Error('no record');
  return decodeRecord(bytes, { encodingId: model.encodingId, strideBytes: model.layout.strideBytes });
}

/** Returns the record of events that are appended one by one. */
export async function recordOneByOne(bundle: LoadedBundle, events: readonly number[]) {
  bench.store = createMemoryUserStore();
  for (const one of interactionsOf('u', events)) await append(writerFor(bundle), [one]);
  return recordOf(bundle, 'u');
}
