import { bundleStatus, listBundles } from '@collectivekv/operations';
import type { Upstream } from './upstream.js';
import type { BundlesView } from './views.js';

/** Returns the state and the coverage of all bundles of the pool. */
export async function readBundles({ pool }: Pick<Upstream, 'pool'>): Promise<BundlesView> {
  const reach = { pool: () => pool };
  const listed = await listBundles(reach);
  const status = await bundleStatus(reach, listed);
  const active = listed[0]?.encodingId;
  return {
    bundles: listed.flatMap(({ id, encodingId, state, shareBp, manifest }, i) => {
      const { name, family, maxPositions, items, training } = manifest;
      const { coverage = null, followers = [] } = status[i] ?? {};
      const facts = { id, name, family, encodingId, state, shareBp, maxPositions };
      const sharesActiveEncoding = encodingId === active;
      return { ...facts, coverage, followers, sharesActiveEncoding, itemCount: items.count, metrics: training.metrics };
    }),
  };
}
