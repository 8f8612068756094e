import type { LoadedBundle } from '@collectivekv/bundles';
import type { RankerParts } from './ranker.js';

/** Returns the bundles of a ranker that has one alone, which somebody else closes when the ranker is no longer used. */
export function oneBundle(bundle: LoadedBundle): RankerParts['bundles'] {
  return { serving: () => ({ bundle, canaryShareBp: 0 }), get: () => bundle, hold: () => () => undefined };
}
