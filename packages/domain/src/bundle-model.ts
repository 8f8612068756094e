import { CkvError } from './errors.js';
import { createRowLayout, type RowLayout } from './layout.js';
import { bundleIdOf, type Manifest, parseManifest } from './manifest.js';
import { isPositionInput } from './positions.js';

/** Item ids to the indices that the graphs know. */
export interface ItemCatalogue {
  readonly count: number;
  /** The item's index; 0, the unknown item, for an id that is not in the catalogue. */
  indexOf(itemId: string): number;
  /** The id at an index; the unknown item's is empty. */
  idAt(index: number): string;
}

/** What of a bundle is needed to encode, assemble and decode: everything but its sessions. */
export interface BundleModel {
  readonly id: string;
  readonly manifest: Manifest;
  readonly layout: RowLayout;
  readonly items: ItemCatalogue;
  /** True where an interaction's row depends on the rows before it: encode then wants its user's history. */
  readonly encodesWithHistory: boolean;
  /** The action's place in the vocabulary; 0 for an unknown one. */
  actionIndex(action: string): number;
}

/**
 * Builds a model from a bundle's manifest and catalogue.
 * @throws bundle_invalid with every problem of the manifest, or where the catalogue does not fit it
 */
export function createBundleModel(parts: { manifestBytes: Uint8Array; itemIds: readonly string[] }): BundleModel {
  const manifest = parseManifest(parts.manifestBytes);
  const actions = new Map(manifest.actions.map((action, index) => [action, index]));
  return {
    id: bundleIdOf(parts.manifestBytes),
    manifest,
    layout: createRowLayout(manifest),
    items: createCatalogue(parts.itemIds, manifest.items.count),
    encodesWithHistory: manifest.graphs.encode.inputs.some(isPositionInput),
    actionIndex: (action) => actions.get(action) ?? 0,
  };
}

function createCatalogue(itemIds: readonly string[], count: number): ItemCatalogue {
  if (itemIds.length !== count) {
    throw new CkvError('bundle_invalid', `items: the file has ${itemIds.length} ids, bundle.json says ${count}`);
  }
  if (itemIds[0] !== '') throw new CkvError('bundle_invalid', 'items: index 0 is the unknown item, its id must be ""');
  const indices = new Map(itemIds.map((id, index) => [id, index]));
  if (indices.size !== count) throw new CkvError('bundle_invalid', 'items: an id stands twice');
  return {
    count,
    indexOf: (itemId) => indices.get(itemId) ?? 0,
    idAt: (index) => itemIds[index] ?? '',
  };
}
