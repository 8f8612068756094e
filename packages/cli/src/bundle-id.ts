import { parseManifest, steadyNowMs } from '@collectivekv/domain';
import type { Connections } from './connections.js';

const ID = /^[0-9a-f]{16}$/;
const DEADLINE_MS = 10_000;

/**
 * Returns the id of a loaded bundle, given its id or its name. An id is not looked up.
 * @throws Error if no loaded bundle has the name, or several have
 */
export async function bundleIdOf(connections: Connections, idOrName: string): Promise<string> {
  if (ID.test(idOrName)) return idOrName;
  const describe = (bundleId: string) =>
    connections.pool().call('Describe', { bundleId }, { deadlineMs: steadyNowMs() + DEADLINE_MS });
  const { loadedBundleIds } = await describe('');
  const named = await Promise.all(
    loadedBundleIds.map(async (id) => ({ id, name: parseManifest((await describe(id)).manifest).name })),
  );
  return uniqueId(named, idOrName);
}

/** @throws Error if not exactly one of the bundles has the name */
export function uniqueId(bundles: readonly { readonly id: string; readonly name: string }[], wanted: string): string {
  const found = bundles.filter(({ name }) => name === wanted).map(({ id }) => id);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  if (found.length > 1)
    throw new Error(`the bundles ${found.join(' and ')} are named "${wanted}"; give one of these ids`);
  const known = bundles.map(({ id, name }) => `${name} (${id})`).join(', ');
  throw new Error(`no loaded bundle has the id or the name "${wanted}"; loaded: ${known}`);
}
