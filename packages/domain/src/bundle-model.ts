import { createItemCatalogue, type ItemCatalogue } from './item-catalogue.js';
import { createRowLayout, type RowLayout } from './layout.js';
import { bundleIdOf, type Manifest, parseManifest } from './manifest.js';
import { isPositionInput } from './positions.js';

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
    items: createItemCatalogue(parts.itemIds, manifest.items.count),
    encodesWithHistory: manifest.graphs.encode.inputs.some(isPositionInput),
    actionIndex: (action) => actions.get(action) ?? 0,
  };
}
