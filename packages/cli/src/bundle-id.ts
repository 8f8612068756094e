import { steadyNowMs } from '@collectivekv/domain';
import type { ResponseOf } from '@collectivekv/rpc';
import type { Connections } from './connections.js';

type ListedBundle = ResponseOf<'PoolService', 'ListBundles'>['bundles'][number];

const ID = /^[0-9a-f]{16}$/;
const DEADLINE_MS = 10_000;

/** Which bundles a name may mean. */
interface NameOptions {
  /** True: also one that was copied to the pool's folder and is not loaded, for commands that load it. */
  readonly orCopied?: boolean;
}

/**
 * Returns the id of a bundle of the pool, given its id or its name. An id is not looked up.
 * @throws Error if no bundle has the name, or several have
 */
export async function bundleIdOf(
  connections: Connections,
  idOrName: string,
  { orCopied = false }: NameOptions = {},
): Promise<string> {
  if (ID.test(idOrName)) return idOrName;
  const limits = { deadlineMs: steadyNowMs() + DEADLINE_MS };
  const { bundles } = await connections.pool().call('ListBundles', {}, limits);
  return uniqueId(bundles, idOrName, { orCopied });
}

/** @throws Error if not exactly one of the bundles has the name */
export function uniqueId(bundles: readonly ListedBundle[], wanted: string, { orCopied = false }: NameOptions): string {
  const found = bundles.filter(({ name }) => name === wanted);
  const fitting = found.filter(({ loaded }) => loaded || orCopied);
  const [only] = fitting;
  if (only !== undefined && fitting.length === 1) return only.bundleId;
  if (only !== undefined) {
    const ids = fitting.map(textOf).join(' and ');
    throw new Error(`the bundles ${ids} are named "${wanted}"; give one of these ids`);
  }
  const [copied] = found;
  if (copied !== undefined) {
    throw new Error(
      `"${wanted}" (${copied.bundleId}) is not loaded; load it with "ckv bundle warm ${copied.bundleId}"`,
    );
  }
  const known = bundles.map((one) => `${one.name} (${textOf(one)})`).join(', ');
  throw new Error(`no bundle of the pool has the id or the name "${wanted}"; it has ${known}`);
}

function textOf({ bundleId, loaded }: ListedBundle): string {
  return loaded ? bundleId : `${bundleId}, not loaded`;
}
