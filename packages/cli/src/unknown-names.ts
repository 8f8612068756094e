import { type Manifest, parseManifest, steadyNowMs } from '@collectivekv/domain';
import type { Connections } from './connections.js';

const DEADLINE_MS = 1_000;

/** The parts of an interaction that a bundle may not know. */
export interface NamedParts {
  readonly action?: string;
  readonly feature?: Readonly<Record<string, number>>;
}

/**
 * Prints a warning to stderr for each name that the active bundle does not know. Without an answer of the pool, or
 * with a manifest that this version cannot read, it prints nothing: interactions can be queued all the same.
 */
export async function warnOfUnknownNames(connections: Connections, parts: NamedParts): Promise<void> {
  if (parts.action === undefined && parts.feature === undefined) return;
  const deadlineMs = steadyNowMs() + DEADLINE_MS;
  const manifest = await connections
    .pool()
    .call('Describe', { bundleId: '' }, { deadlineMs })
    .then((described) => parseManifest(described.manifest))
    .catch(() => undefined);
  if (manifest === undefined) return;
  for (const warning of unknownNames(manifest, parts)) console.error(`warning: ${warning}`);
}

/** Returns a warning for each name that the bundle does not know. */
export function unknownNames(manifest: Pick<Manifest, 'actions' | 'features'>, parts: NamedParts): string[] {
  const { action = '', feature = {} } = parts;
  const actions = manifest.actions.slice(1); // the first one stands for all unknown actions
  const features = manifest.features.interaction.map(({ name }) => name);
  return [
    ...(action === '' || actions.includes(action)
      ? []
      : [`the active bundle has no action "${action}", which counts as unknown; it has ${listed(actions)}`]),
    ...Object.keys(feature)
      .filter((name) => !features.includes(name))
      .map(
        (name) =>
          `the active bundle has no interaction feature "${name}", which is ignored; it has ${listed(features)}`,
      ),
  ];
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.join(', ');
}
