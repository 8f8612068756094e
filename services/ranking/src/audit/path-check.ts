import { attend } from '../attention/attend.js';
import { createLocalPoolRows } from '../attention/local-pool-rows.js';
import { createStopwatch } from '../stage-timings.js';
import type { AuditBundles } from './audit-bundles.js';
import type { AuditCheck } from './audit-check.js';
import { auditLimits } from './audit-limits.js';

/**
 * Creates the check that computes served scores by the other path. Replica mode: pool rows are gathered, keys and values
 * are assembled for every position, and rank_kv runs. Remote mode: the rank graph runs, with the pool inside.
 * @param isRemote true if the service is in remote mode
 */
export function createPathCheck(bundles: AuditBundles, isRemote: boolean): AuditCheck {
  return {
    name: 'path',
    mustAgree: true,
    async run({ basis: { bundle: served, rows, candidates } }) {
      const bundle = await bundles.served(served, isRemote ? ['rank'] : ['rankKv', 'gather']);
      const { scores } = await attend({
        bundle,
        rows,
        candidates,
        historyPolicy: 'required', // a failure is not to be hidden
        poolRows: isRemote ? undefined : createLocalPoolRows(bundle),
        partCandidates: 0,
        alone: true,
        limits: auditLimits(),
        stopwatch: createStopwatch(),
      });
      return { kind: 'scores', scores };
    },
  };
}
