import { steadyNowMs } from '@collectivekv/domain';

/** What a follower has made of one announced bundle. */
export interface BundleReport {
  readonly bundleId: string;
  readonly loaded: boolean;
  /** Rank requests that were looked at for the coverage of the bundle; 0 in services that do not rank. */
  readonly sampledCount: number;
  /** How many of them would find a warm record under the bundle. */
  readonly warmCount: number;
  /** The records change after which they were looked at. */
  readonly recordsChange: number;
}

/** The latest report of one follower. */
export interface FollowerReport {
  readonly service: string;
  readonly replicaId: string;
  readonly bundles: readonly BundleReport[];
}

/** The reports of the followers that this process has heard of lately. */
export interface FollowerReports {
  add(report: FollowerReport): void;
  /**
   * Forgets what followers reported of other bundles, now and from now on: a bundle that is announced again later is to
   * be loaded and measured anew. So is the coverage of a bundle from before the records change that is announced. Before
   * the first call all is kept.
   */
  keepOnly(announced: readonly Pick<BundleReport, 'bundleId' | 'recordsChange'>[]): void;
  all(): readonly FollowerReport[];
  /** Returns the requests that all replicas have looked at for a bundle. */
  coverageOf(bundleId: string): Pick<BundleReport, 'sampledCount' | 'warmCount'>;
}

/** Most followers of one pool. The one that reported longest ago is forgotten. */
export const MAX_FOLLOWERS = 1_000;
/** A follower reports every two seconds. */
const FORGOTTEN_AFTER_MS = 15_000;
const NO_COUNTS = { sampledCount: 0, warmCount: 0 };

/** Creates an empty collection. */
export function createFollowerReports(nowMs: () => number = steadyNowMs): FollowerReports {
  /** By service and replica, the latest report last. */
  const reports = new Map<string, { readonly report: FollowerReport; readonly atMs: number }>();

  let kept: ReadonlyMap<string, number> | undefined;
  const keptOf = (report: FollowerReport) => ({
    ...report,
    bundles: report.bundles
      .filter(({ bundleId }) => kept?.has(bundleId) ?? true)
      .map((one) => (kept && kept.get(one.bundleId) !== one.recordsChange ? { ...one, ...NO_COUNTS } : one)),
  });

  function forgetOld(): void {
    for (const [key, { atMs }] of reports) {
      if (reports.size <= MAX_FOLLOWERS && atMs >= nowMs() - FORGOTTEN_AFTER_MS) return;
      reports.delete(key);
    }
  }

  function all(): readonly FollowerReport[] {
    forgetOld();
    return [...reports.values()].map(({ report }) => report);
  }

  return {
    add(report) {
      const key = `${report.service} ${report.replicaId}`;
      reports.delete(key);
      reports.set(key, { report: keptOf(report), atMs: nowMs() });
      forgetOld();
    },
    keepOnly(announced) {
      kept = new Map(announced.map(({ bundleId, recordsChange }) => [bundleId, recordsChange]));
      for (const [key, { report, atMs }] of reports) reports.set(key, { report: keptOf(report), atMs });
    },
    all,
    coverageOf(bundleId) {
      const found = all().flatMap(({ bundles }) => bundles.filter((one) => one.bundleId === bundleId));
      return {
        sampledCount: found.reduce((sum, { sampledCount }) => sum + sampledCount, 0),
        warmCount: found.reduce((sum, { warmCount }) => sum + warmCount, 0),
      };
    },
  };
}
