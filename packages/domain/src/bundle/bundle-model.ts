import { createItemCatalogue, type ItemCatalogue } from './item-catalogue.js';
import { bundleIdOf, parseManifest } from './manifest.js';
import { isPositionInput, type Manifest } from './manifest-schema.js';
import { createRowLayout, type RowLayout } from './row-layout.js';

/** A bundle without its engine sessions: enough to encode interactions, decode records and assemble graph inputs. */
export interface BundleModel {
  readonly id: string;
  readonly manifest: Manifest;
  readonly layout: RowLayout;
  readonly items: ItemCatalogue;
  /** True if an interaction's row depends on the rows before it. The encode graph then takes the user's history. */
  readonly encodesWithHistory: boolean;
  /** Returns the action's index in the vocabulary; 0 for an unknown action. */
  actionIndex(action: string): number;
}

/**
 * Creates the model of a bundle from its manifest and its item ids.
 * @throws bundle_invalid with every problem of the manifest, or if the item ids do not fit it
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
