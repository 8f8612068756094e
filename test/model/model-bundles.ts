import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LoadedBundle } from '@collectivekv/bundles';
import { createBundleModel } from '@collectivekv/domain';

const TARGET = fileURLToPath(new URL('../fixtures/bundles/target', import.meta.url));
const ITEM_IDS: readonly string[] = JSON.parse(readFileSync(`${TARGET}/items.json`, 'utf8')).ids;

/** Most events of a user: a row names its event, and a row has one byte for the item. */
export const MAX_EVENTS = 100;

/** Returns the item of a user's n-th event, from 0. */
export function itemOf(event: number): string {
  return ITEM_IDS[event + 1] ?? '';
}

/**
 * Creates a bundle with another encode graph: the first byte of a row is the index of its item.
 * @param withHistory true if the graph asks for the user's rows
 * @param maxPositions more than the model has events: here it does nothing but tell encodings apart
 */
export function createModelBundle(
  name: string,
  { withHistory = false, maxPositions = 400 }: { readonly withHistory?: boolean; readonly maxPositions?: number },
): LoadedBundle {
  const manifest = JSON.parse(readFileSync(`${TARGET}/bundle.json`, 'utf8'));
  const routes = { name: 'routes', role: 'routes', field: 'route', type: 'int64', shape: ['positions'] };
  if (withHistory) manifest.graphs.encode.inputs.push(routes);
  const model = createBundleModel({
    manifestBytes: Buffer.from(JSON.stringify({ ...manifest, name, maxPositions })),
    itemIds: [...ITEM_IDS],
  });
  const graphs: LoadedBundle['graphs'] = {
    async run(_, feeds) {
      const items = [...(feeds.item_index?.data ?? [])].map(Number);
      const shape = [items.length, 1];
      return {
        route: { type: 'int64', data: BigInt64Array.from(items, BigInt), shape },
        user_code: { type: 'int64', data: new BigInt64Array(items.length), shape },
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

/** Returns the numbers of the events whose rows these are, oldest first. */
export function eventsOfRows({ model }: LoadedBundle, rows: Uint8Array): number[] {
  const { strideBytes } = model.layout;
  return Array.from({ length: rows.length / strideBytes }, (_, i) => eventOfIndex(model, rows[i * strideBytes] ?? 0));
}

const eventOf = new Map(ITEM_IDS.map((itemId, i) => [itemId, i - 1]));

function eventOfIndex(model: LoadedBundle['model'], index: number): number {
  return eventOf.get(model.items.idAt(index)) ?? Number.NaN;
}
