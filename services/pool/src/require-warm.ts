import { CkvError, WHOLE_SHARE_BP } from '@collectivekv/domain';
import type { FollowerReports } from './follower-reports.js';

/** Fewest requests that must have been looked at. Fewer say too little about a share of 95 %. */
export const FEWEST_SAMPLES = 100;

/** A wish to serve users by a bundle. */
export interface ServingWish {
  readonly bundleId: string;
  /** Least coverage, in parts per 10,000. */
  readonly minCoverageBp: number;
}

/**
 * Checks that enough of the rank requests would find a warm record under a bundle, by the reports of ranking.
 * @throws bundle_cold with the figures and the remedy
 */
export function requireWarm(reports: Pick<FollowerReports, 'coverageOf'>, wish: ServingWish): void {
  const { bundleId, minCoverageBp } = wish;
  if (minCoverageBp === 0) return;
  const { sampledCount, warmCount } = reports.coverageOf(bundleId);
  const warm = `make it warm with "ckv bundle warm ${bundleId}" and "ckv backfill", or serve it anyway by --force`;
  if (sampledCount < FEWEST_SAMPLES) {
    const problem = `its coverage is unknown: ranking has looked at ${sampledCount} requests, ${FEWEST_SAMPLES} are required`;
    throw cold(`${problem}; ${warm}`);
  }
  if (warmCount * WHOLE_SHARE_BP >= minCoverageBp * sampledCount) return;
  const found = `${((warmCount / sampledCount) * 100).toFixed(1)}% of ${sampledCount} rank requests have a warm record`;
  throw cold(`${found}, ${minCoverageBp / 100}% are required; ${warm}`);
}

function cold(text: string): CkvError {
  return new CkvError('bundle_cold', `bundle_id: ${text}`, { field: 'bundle_id' });
}
