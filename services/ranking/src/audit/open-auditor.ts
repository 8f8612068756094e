import type { BundleFollower, BundleTrust } from '@collectivekv/bundles';
import { invalidRequest } from '@collectivekv/domain';
import { createEngine, type Engine } from '@collectivekv/engine';
import type { GrpcClient } from '@collectivekv/rpc';
import type { Admission } from '@collectivekv/rpc/server';
import type { Logger, Metrics } from '@collectivekv/service-kit';
import type { RankingConfig } from '../config.js';
import type { RecordSource } from '../records/record-source.js';
import { createAuditBundles } from './audit-bundles.js';
import { createAuditMetrics } from './audit-metrics.js';
import { type Auditor, createAuditor } from './auditor.js';
import { createPathCheck } from './path-check.js';
import { createShadowCheck } from './shadow-check.js';

/** Parts of {@link openAuditor}. */
export interface AuditParts {
  /** The engine that serves. Audits have one of their own, and wait while this one has no worker to spare. */
  readonly engine: Pick<Engine, 'queuedCount' | 'hungry'>;
  readonly admission: Pick<Admission, 'waitingCount'>;
  readonly followed: Pick<BundleFollower, 'announced'>;
  readonly pool: Pick<GrpcClient<'PoolService'>, 'stream'>;
  readonly records: Pick<RecordSource, 'get'>;
  readonly trust: BundleTrust | undefined;
  readonly metrics: Metrics;
  readonly log: Pick<Logger, 'warn' | 'error'>;
}

/**
 * Opens the auditor that the configuration asks for, with a graph worker of its own.
 * @returns undefined if no answers are audited
 * @throws invalid_request for a shadow bundle without audits
 */
export async function openAuditor(config: RankingConfig, parts: AuditParts): Promise<Auditor | undefined> {
  const { CKV_AUDIT_SHARE: share, CKV_SHADOW_BUNDLE: shadowId } = config;
  if (share === 0) {
    if (shadowId === '') return undefined;
    throw invalidRequest('CKV_SHADOW_BUNDLE', 'is set, but no answer is audited', 'set CKV_AUDIT_SHARE above 0');
  }
  const { admission, pool, records, trust, metrics, log } = parts;
  const engine = await createEngine({
    provider: 'cpu', // also beside a device: it checks the device then, and takes none of its memory
    workerCount: 1,
    threadsPerWorker: 1,
    queueLimit: config.CKV_QUEUE_LIMIT,
    onWorkerDeath: (err) => log.error({ err }, 'the graph worker of audits died and is replaced'),
  });
  const bundles = createAuditBundles({ engine, cacheDir: config.CKV_CACHE_DIR, pool, trust });
  const shadowOf = (servedId: string) => (shadowId === '' ? candidateBeside(servedId, parts.followed) : shadowId);
  const auditor: Auditor = createAuditor({
    checks: [
      createPathCheck(bundles, config.CKV_POOL_MODE === 'remote'),
      createShadowCheck({ bundles, records, shadowOf }),
    ],
    share,
    maxPerS: config.CKV_AUDIT_MAX_PER_S,
    tolerance: config.CKV_AUDIT_TOLERANCE,
    busy: () => !parts.engine.hungry || parts.engine.queuedCount > 0 || admission.waitingCount > 0,
    metrics: createAuditMetrics(metrics, () => auditor.waitingCount),
    log,
  });
  return {
    offer: auditor.offer,
    get waitingCount() {
      return auditor.waitingCount;
    },
    async close() {
      await auditor.close();
      await bundles.close();
      await engine.close();
    },
  };
}

/** Returns the announced candidate bundle that is not the served one. */
function candidateBeside(servedId: string, followed: AuditParts['followed']): string | undefined {
  const isCandidate = (state: string) => state === 'canary' || state === 'warming';
  return followed.announced().find(({ bundleId, state }) => bundleId !== servedId && isCandidate(state))?.bundleId;
}
