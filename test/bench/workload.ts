// What every arm works on: a bundle, histories, candidates; the same for the same seed.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BundleModel, type Candidates, encodeRecord } from '@collectivekv/domain';

/** Candidates of a request. */
export const CANDIDATES = 500;
/** Longest history. */
export const MAX_POSITIONS = 50_000;

/** Copies a bundle and lets its records be as long as the longest history here; its graphs are the same files. */
export function makeBenchBundle(from: string, to: string): string {
  cpSync(from, to, { recursive: true });
  const path = join(to, 'bundle.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...manifest, name: 'bench', maxPositions: MAX_POSITIONS }));
  return to;
}

/** Uniform numbers in [0, 1): mulberry32. */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Rows of random routes and user dims: every slot is visited, the worst case for attention over distinct slots. */
export function randomRows(model: BundleModel, positions: number, seed: number): Uint8Array {
  const random = randomNumbers(seed);
  return Uint8Array.from({ length: positions * model.layout.strideBytes }, () => Math.floor(random() * 256));
}

/** A user's record with those rows and a full ring. */
export function recordOf(model: BundleModel, rows: Uint8Array): Uint8Array {
  return encodeRecord({
    bundleId: model.id,
    strideBytes: model.layout.strideBytes,
    lifetimeCount: rows.length / model.layout.strideBytes,
    lastEventMs: 1_700_000_000_000,
    recentEvents: new Uint8Array(14 * 6).fill(1),
    rows,
  });
}

/** Random items of the catalogue, for the SDK and for the graph. */
export function candidatesOf(
  model: BundleModel,
  count: number,
  seed: number,
): { ids: string[]; candidates: Candidates } {
  const random = randomNumbers(seed);
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
