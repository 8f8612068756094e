import { CkvError, counted, WHOLE_SHARE_BP } from '@collectivekv/domain';
import type { FollowerReports } from './follower-reports.js';

/** Fewest requests that must have been looked at. Fewer say too little about a share of 95 %. */
export const FEWEST_SAMPLES = 100;

/** A wish to serve users by a bundle. */
export interface ServingWish {
  readonly bundleId: string;
  /** Least coverage, in parts per 10,000. */
  readonly minCoverageBp: number;
  /** True if the followers load the bundle, so that ranking looks for records under it. */
  readonly announced: boolean;
}

/**
 * Checks that enough of the rank requests would find a warm record under a bundle, by the reports of ranking.
 * @throws bundle_cold with the figures and the remedy
 */
export function requireWarm(reports: Pick<FollowerReports, 'coverageOf'>, wish: ServingWish): void {
  const { bundleId, minCoverageBp, announced } = wish;
  if (minCoverageBp === 0) return;
  const { sampledCount, warmCount } = reports.coverageOf(bundleId);
  if (sampledCount < FEWEST_SAMPLES) {
    const looked = `ranking has looked at ${counted(sampledCount, 'rank request')}, ${FEWEST_SAMPLES} are required`;
    const remedy = announced
      ? 'wait until users with a record have sent more; "ckv bundle status" shows the number'
      : `begin its records first: "ckv backfill start --bundle ${bundleId}"; if it has records from before, "ckv bundle warm ${bundleId}" goes on with them`;
    throw cold(`its coverage is unknown: ${looked}; ${remedy}; or serve it anyway by --force`);
  }
  if (warmCount * WHOLE_SHARE_BP >= minCoverageBp * sampledCount) return;
  const found = `${((warmCount / sampledCount) * 100).toFixed(1)}% of ${sampledCount} rank requests have a warm record`;
  const build = `build its records by "ckv backfill --bundle ${bundleId}"`;
  throw cold(`${found}, ${minCoverageBp / 100}% are required; ${build}; or serve it anyway by --force`);
}

function cold(text: string): CkvError {
  return new CkvError('bundle_cold', `bundle_id: ${text}`, { field: 'bundle_id' });
}
