import type { AnnouncedBundle, Announcement } from '@collectivekv/bundles';
import type { Activation } from './activation.js';

/** Bundles that are announced for a rollback. */
const WARM_PREVIOUS = 1;

/** Returns the announcement of an activation. Names only bundles that the pool `has`. */
export function announcementOf(
  { active, previous, candidates = [] }: Activation,
  has: (bundleId: string) => boolean,
): Announcement {
  const candidateIds = new Set(candidates.map(({ bundleId }) => bundleId));
  const bundles: AnnouncedBundle[] = [
    { bundleId: active, state: 'active', shareBp: 0 },
    ...candidates
      .filter(({ bundleId }) => has(bundleId))
      .map((one): AnnouncedBundle => ({ ...one, state: one.shareBp > 0 ? 'canary' : 'warming' })),
    ...previous
      .filter(has)
      .slice(0, WARM_PREVIOUS)
      .filter((bundleId) => !candidateIds.has(bundleId))
      .map((bundleId): AnnouncedBundle => ({ bundleId, state: 'previous', shareBp: 0 })),
  ];
  return { activeBundleId: active, bundles };
}
