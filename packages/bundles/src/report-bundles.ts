import { hostname } from 'node:os';
import { steadyNowMs } from '@collectivekv/domain';
import type { GrpcClient } from '@collectivekv/rpc';
import type { BundleFollower } from './follow-bundles.js';

/** Requests that were looked at for an encoding, and those among them whose user has a warm record. */
export interface CoverageCounts {
  readonly sampledCount: number;
  readonly warmCount: number;
  /** The records change of the encoding after which they were looked at; 0 before the first. */
  readonly recordsChange: number;
}

/** Options of {@link reportBundles}. */
export interface ReportOptions {
  readonly pool: Pick<GrpcClient<'PoolService'>, 'call'>;
  readonly bundles: Pick<BundleFollower, 'announced' | 'all'>;
  /** The service that follows. */
  readonly service: string;
  /** Returns the coverage by encoding, in ranking. Default: none is known. */
  readonly coverage?: () => ReadonlyMap<string, CoverageCounts>;
}

const REPORT_EVERY_MS = 2_000;
const NO_COUNTS: CoverageCounts = { sampledCount: 0, warmCount: 0, recordsChange: 0 };

/**
 * Tells the pool again and again which announced bundles are loaded, and the coverage. A report that fails is dropped:
 * the next one has everything.
 * @returns a function that ends the reports
 */
export function reportBundles({ pool, bundles, service, coverage = () => new Map() }: ReportOptions): () => void {
  const replicaId = `${hostname()}:${process.pid}`;
  let reporting = false;

  async function report(): Promise<void> {
    const loaded = new Map(bundles.all().map(({ model }) => [model.id, model]));
    const counts = coverage();
    const reports = bundles.announced().map(({ bundleId }) => {
      const model = loaded.get(bundleId);
      return { bundleId, loaded: model !== undefined, ...(counts.get(model?.encodingId ?? '') ?? NO_COUNTS) };
    });
    const limits = { deadlineMs: steadyNowMs() + REPORT_EVERY_MS };
    await pool.call('ReportBundles', { service, replicaId, bundles: reports }, limits);
  }

  const timer = setInterval(() => {
    if (reporting || bundles.announced().length === 0) return;
    reporting = true;
    report()
      .catch(() => undefined) // the follower logs that the pool is away; an older pool knows no reports
      .finally(() => {
        reporting = false;
      });
  }, REPORT_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
