import { toCkvError } from '@collectivekv/domain';
import { oneBundle } from '../one-bundle.js';
import { createRanker, type RankAnswer } from '../ranker.js';
import type { RecordSource } from '../records/record-source.js';
import type { AuditBundles } from './audit-bundles.js';
import type { AuditCheck, CheckResult } from './audit-check.js';
import { auditLimits } from './audit-limits.js';

/** Options of {@link createShadowCheck}. */
export interface ShadowOptions {
  readonly bundles: AuditBundles;
  /** The records of the shadow bundle, if its encoding is not that of the served one. */
  readonly records: Pick<RecordSource, 'get'>;
  /** Returns the id of the bundle to compare a served one with; undefined if there is none. */
  readonly shadowOf: (servedId: string) => string | undefined;
}

/**
 * Creates the check that answers requests by another bundle, as ranking would. Nobody gets these answers. If both
 * bundles have the same encoding, it uses the record that the served answer used.
 */
export function createShadowCheck({ bundles, records, shadowOf }: ShadowOptions): AuditCheck {
  return {
    name: 'shadow',
    mustAgree: false,
    async run(served): Promise<CheckResult> {
      const { recordMissing, rowsMissing } = served.basis;
      const shadowId = shadowOf(served.bundleId);
      if (!shadowId || shadowId === served.bundleId || recordMissing || rowsMissing) return { kind: 'skipped' };
      const bundle = await bundles.byId(shadowId, ['encode', 'rank']);
      const sharesRecords = bundle.model.encodingId === served.encodingId;
      const ranker = createRanker({
        bundles: oneBundle(bundle),
        records: sharesRecords ? recordOf(served) : records,
        partCandidates: 0,
        othersWait: () => false,
      });
      const query = { ...served.basis.query, bundleId: '', captureId: '', maxStalenessMs: 0, topK: 1 };
      const answer = await ranker.rank(query, auditLimits()).catch((thrown) => {
        if (toCkvError(thrown).reason === 'invalid_request') return undefined; // a feature that it does not have
        throw thrown;
      });
      if (!answer) return { kind: 'unsupported' };
      if (answer.coldUser && !served.coldUser) return { kind: 'cold' };
      if (answer.rungReason !== '') return { kind: 'skipped' }; // its record could not be read
      return { kind: 'scores', scores: answer.scores };
    },
  };
}

/** Returns a source of the record that an answer used. */
function recordOf({ basis, recordAgeMs }: RankAnswer): Pick<RecordSource, 'get'> {
  return { get: async () => ({ bytes: basis.recordBytes, ageMs: recordAgeMs }) };
}
