import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { CkvError, createBundleModel, parseManifest } from '@collectivekv/domain';
import { FIXTURE_BUNDLES } from '../fixture-bundles.js';
import { damagedJson } from '../inputs/damaged-json.js';
import { isRefusal } from '../refusals.js';
import type { Surface } from '../surface.js';

/** Items of a catalogue that is built. */
const MAX_ITEMS = 2_000;
const CLUSTER_MAP = new Uint8Array(64);

/** Contents of bundle.json. */
export async function manifestsSurface(): Promise<Surface<Buffer>> {
  const valid = await Promise.all(FIXTURE_BUNDLES.map((dir) => readFile(`${dir}/bundle.json`)));
  const seeds = valid.map((bytes) => JSON.parse(bytes.toString()) as unknown);
  return {
    name: 'bundle manifests',
    inputs: damagedJson(seeds),
    async judge(bytes) {
      try {
        const manifest = parseManifest(bytes);
        // A manifest that passes must describe a bundle that can be built, or is refused for its other files.
        const itemIds = Array.from({ length: Math.min(manifest.items.count, MAX_ITEMS) }, (_, i) =>
          i === 0 ? '' : `i${i}`,
        );
        const maps = (manifest.clusterings ?? []).flatMap(({ by }) => by.flatMap(({ map = [] }) => map));
        createBundleModel({
          manifestBytes: bytes,
          itemIds,
          clusterMaps: new Map(maps.map((path) => [path, CLUSTER_MAP])),
        });
        return 'accepted';
      } catch (error) {
        if (error instanceof CkvError && isRefusal(error)) return 'refused';
        throw error;
      }
    },
    async stillRight() {
      for (const [i, bytes] of valid.entries()) {
        if (!isDeepStrictEqual(parseManifest(bytes), seeds[i])) throw new Error('a valid manifest changed');
      }
    },
  };
}
