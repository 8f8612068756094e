// Histories and candidates of all arms. The same seed gives the same ones.
import { encodeRows, loadBundle, openBundle } from '@collectivekv/bundles';
import { type BundleModel, type Candidates, encodeRecord, type Interaction, writeElement } from '@collectivekv/domain';
import { createEngine } from '@collectivekv/engine';
import { randomNumbers } from './random.js';
import type { RealLog } from './real-log.js';

/** Default number of candidates of a request. */
export const CANDIDATES = 500;
const CANDIDATE_SEED = 7;
const FIRST_EVENT_MS = 1_700_000_000_000;

/** Returns the rows of `users` histories of the given length, each of its own user. */
export type Histories = (positions: number, users: number) => Promise<Uint8Array[]>;

/** A bundle on disk, and histories for it. */
export interface BenchBundle {
  readonly dir: string;
  readonly histories: Histories;
}

/** Creates histories for a bundle from a log. The bundle encodes them, as an updater does. */
export function realHistories(dir: string, log: RealLog): Histories {
  return (positions, users) => {
    const histories = Array.from({ length: users }, (_, i) => log.history(positions, i));
    return encodeAll(dir, histories);
  };
}

/**
 * Creates random histories for a bundle with random weights. If the rank graph attends over distinct slots, rows visit
 * as many slots as possible: the worst case. Otherwise the bundle encodes random interactions. All users have the same
 * one.
 */
export function randomHistories(dir: string): Histories {
  return async (positions, users) => {
    const { model } = await openBundle(dir);
    const collapses = model.manifest.graphs.rank.inputs.some(({ role }) => role === 'distinct_slots');
    const interactions = () => randomInteractions(positions, { users: 1, seed: 1 });
    const rows = collapses ? [randomRows(model, positions, positions)] : await encodeAll(dir, [interactions()]);
    return Array.from({ length: users }, () => rows[0] ?? new Uint8Array(0));
  };
}

async function encodeAll(dir: string, histories: readonly Interaction[][]): Promise<Uint8Array[]> {
  const engine = await createEngine({ provider: 'cpu', workerCount: 1, threadsPerWorker: 1, queueLimit: 1 });
  const bundle = await loadBundle(dir, engine, { graphs: ['encode'], verifyGolden: false });
  const rows: Uint8Array[] = [];
  for (const history of histories) rows.push(await encodeRows(bundle, history));
  await bundle.close();
  await engine.close();
  return rows;
}

/** Returns rows of random routes and user dims. */
export function randomRows({ layout }: BundleModel, positions: number, seed: number): Uint8Array {
  const random = randomNumbers(seed);
  const rows = new Uint8Array(positions * layout.strideBytes);
  const view = new DataView(rows.buffer);
  for (let at = 0; at < rows.length; at += layout.strideBytes) {
    for (const field of layout.fields) {
      for (let i = 0; i < field.width; i++) {
        writeElement(view, at, field, i, field.kind === 'route' ? Math.floor(random() * field.slots) : random());
      }
    }
  }
  return rows;
}

/** Returns random interactions of `users` users in turn. Event ids contain the seed. */
export function randomInteractions(count: number, { users, seed }: { users: number; seed: number }): Interaction[] {
  const random = randomNumbers(seed);
  return Array.from({ length: count }, (_, i) => ({
    eventId: `bench-${seed}-${i}`,
    userId: `bench-${i % users}`,
    itemId: `i${String(1 + Math.floor(random() * 1_999)).padStart(4, '0')}`,
    timestampMs: FIRST_EVENT_MS + i,
    action: ['skip', 'click', 'like'][Math.floor(random() * 3)] ?? '',
    features: { watch_ratio: random() },
  }));
}

/** Returns an encoded record with these rows and a full ring of recent events. */
export function recordOf(model: BundleModel, rows: Uint8Array): Uint8Array {
  return encodeRecord({
    encodingId: model.encodingId,
    strideBytes: model.layout.strideBytes,
    lifetimeCount: rows.length / model.layout.strideBytes,
    lastEventMs: FIRST_EVENT_MS,
    recentEvents: new Uint8Array(14 * 6).fill(1),
    rows,
  });
}

/** Returns random items of the catalogue, as ids for the SDK and as candidates for the graph. */
export function candidatesOf(model: BundleModel, count: number): { ids: string[]; candidates: Candidates } {
  const random = randomNumbers(CANDIDATE_SEED);
  const itemIndices = Int32Array.from({ length: count }, () => 1 + Math.floor(random() * (model.items.count - 1)));
  const { candidate, context } = model.manifest.features;
  return {
    ids: Array.from(itemIndices, (index) => model.items.idAt(index)),
    candidates: {
      itemIndices,
      columns: Object.fromEntries(
        candidate.map(({ name, default: value }) => [name, new Float32Array(count).fill(value)]),
      ),
      context: Object.fromEntries(context.map(({ name, default: value }) => [name, value])),
    },
  };
}
