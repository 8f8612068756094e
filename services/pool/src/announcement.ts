import type { AnnouncedBundle, Announcement } from '@collectivekv/bundles';
import type { Activation } from './activation.js';

/** Bundles that are announced for a rollback. */
const WARM_PREVIOUS = 1;

/**
 * Returns the announcement of an activation. Names only bundles that the pool has.
 * @param encodingOf returns the encoding of a bundle; undefined for one that the pool lacks
 */
export function announcementOf(
  { active, previous, candidates = [], changes = [] }: Activation,
  encodingOf: (bundleId: string) => string | undefined,
): Announcement {
  const has = (bundleId: string) => encodingOf(bundleId) !== undefined;
  const candidateIds = new Set(candidates.map(({ bundleId }) => bundleId));
  const bundles: Omit<AnnouncedBundle, 'recordsChange'>[] = [
    { bundleId: active, state: 'active', shareBp: 0 },
    ...candidates
      .filter(({ bundleId }) => has(bundleId))
      .map((one) => ({ ...one, state: one.shareBp > 0 ? ('canary' as const) : ('warming' as const) })),
    ...previous
      .filter(has)
      .slice(0, WARM_PREVIOUS)
      .filter((bundleId) => !candidateIds.has(bundleId))
      .map((bundleId) => ({ bundleId, state: 'previous' as const, shareBp: 0 })),
  ];
  const numbers = new Map(changes.map(({ encodingId, number }) => [encodingId, number]));
  const recordsChangeOf = (bundleId: string) => numbers.get(encodingOf(bundleId) ?? '') ?? 0;
  return {
    activeBundleId: active,
    bundles: bundles.map((one) => ({ ...one, recordsChange: recordsChangeOf(one.bundleId) })),
  };
}
