import { CkvError } from '../errors.js';
import { type Clustering, createClusterings } from './clustering.js';
import { encodingIdOf } from './encoding-id.js';
import { createItemCatalogue, type ItemCatalogue } from './item-catalogue.js';
import { bundleIdOf, parseManifest } from './manifest.js';
import { isPositionInput, type Manifest } from './manifest-schema.js';
import { createRowLayout, type RowLayout } from './row-layout.js';
import { readTrainedUsage } from './trained-usage.js';

/** A bundle without its engine sessions: enough to encode interactions, decode records and assemble graph inputs. */
export interface BundleModel {
  readonly id: string;
  /** Names the user records that the bundle reads and writes. Bundles with one encoding share them. */
  readonly encodingId: string;
  readonly manifest: Manifest;
  readonly layout: RowLayout;
  readonly items: ItemCatalogue;
  /** By route field: positions of training by slot. Fields that training did not count are left out. */
  readonly trainedUsage: ReadonlyMap<string, Uint32Array>;
  /** True if an interaction's row depends on the rows before it. The encode graph then takes the user's history. */
  readonly encodesWithHistory: boolean;
  /** Returns the action's index in the vocabulary; 0 for an unknown action. */
  actionIndex(action: string): number;
  /** Returns a clustering by name. Throws a `bug` for an unknown name, since the manifest's names were checked. */
  clustering(name: string): Clustering;
}

/** The contents of a bundle's files that a {@link BundleModel} is made of. */
export interface BundleModelParts {
  readonly manifestBytes: Uint8Array;
  readonly itemIds: readonly string[];
  /** Bytes of the cluster maps by path. Required if the manifest names any. */
  readonly clusterMaps?: ReadonlyMap<string, Uint8Array>;
  /** Bytes of the counts of training by path. Required if the manifest names any. */
  readonly slotUsage?: ReadonlyMap<string, Uint8Array>;
}

/**
 * Creates the model of a bundle from its manifest, its item ids and its cluster maps.
 * @throws bundle_invalid with every problem of the manifest, or if the item ids, a cluster map or a count of training
 * do not fit it
 */
export function createBundleModel(parts: BundleModelParts): BundleModel {
  const { manifestBytes, itemIds, clusterMaps = new Map(), slotUsage = new Map() } = parts;
  const manifest = parseManifest(manifestBytes);
  const actions = new Map(manifest.actions.map((action, index) => [action, index]));
  const clusterings = new Map(createClusterings(manifest, clusterMaps).map((one) => [one.name, one]));
  return {
    id: bundleIdOf(manifestBytes),
    encodingId: encodingIdOf(manifest),
    manifest,
    layout: createRowLayout(manifest),
    items: createItemCatalogue(itemIds, manifest.items.count),
    trainedUsage: readTrainedUsage(manifest, slotUsage),
    encodesWithHistory: manifest.graphs.encode.inputs.some(isPositionInput),
    actionIndex: (action) => actions.get(action) ?? 0,
    clustering(name) {
      const clustering = clusterings.get(name);
      if (!clustering) throw new CkvError('bug', `no clustering ${name}`);
      return clustering;
    },
  };
}
