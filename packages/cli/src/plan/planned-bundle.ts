import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openBundle } from '@collectivekv/bundles';
import { type BundleModel, bundleIdOf, createRowLayout, parseManifest, steadyNowMs } from '@collectivekv/domain';
import { bundleIdOf as idOfLoaded } from '../bundle-id.js';
import type { Connections } from '../connections.js';
import type { PlannedBundle } from './plan-input.js';

/** The bundle that a command names. */
export interface NamedBundle {
  readonly bundle: PlannedBundle;
  /** Its folder; undefined if the pool service has it. */
  readonly dir: string | undefined;
  /** Mean length of its item ids, bytes; undefined if the catalogue is not known here. */
  readonly itemIdBytes: number | undefined;
}

const DEADLINE_MS = 10_000;

/**
 * Opens a bundle folder, or asks the pool service for a bundle by its id or name.
 * @throws bundle_invalid, and the errors of the pool service
 */
export async function namedBundle(connections: Connections, named: string): Promise<NamedBundle> {
  if (named.includes('/') || (await isFile(join(named, 'bundle.json')))) {
    const { model } = await openBundle(named);
    const { id, manifest, layout } = model;
    return { bundle: { id, manifest, strideBytes: layout.strideBytes }, dir: named, itemIdBytes: meanIdBytes(model) };
  }
  const bundleId = await idOfLoaded(connections, named);
  const limits = { deadlineMs: steadyNowMs() + DEADLINE_MS };
  const described = await connections.pool().call('Describe', { bundleId }, limits);
  const manifest = parseManifest(described.manifest);
  const { strideBytes } = createRowLayout(manifest);
  return {
    bundle: { id: bundleIdOf(described.manifest), manifest, strideBytes },
    dir: undefined,
    itemIdBytes: undefined,
  };
}

function meanIdBytes({ items }: BundleModel): number {
  let bytes = 0;
  for (let index = 1; index < items.count; index++) bytes += Buffer.byteLength(items.idAt(index));
  return Math.max(1, Math.round(bytes / Math.max(1, items.count - 1)));
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
}
