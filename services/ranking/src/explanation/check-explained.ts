import { invalidRequest, LIMITS } from '@collectivekv/domain';
import { type CallContext, EXPLAINED_RANK } from '@collectivekv/rpc/server';
import type { RankQuery } from '../rank-query.js';

/**
 * Checks a request for an explanation.
 * @param at prefix of field names in errors: `requests[3].` in a RankMany, else empty
 * @throws permission_denied if the caller may not read records; invalid_request in a RankMany, or for too many
 * candidates
 */
export function checkExplained(
  { candidateIds }: Pick<RankQuery, 'candidateIds'>,
  at: string,
  call: Pick<CallContext, 'refusal'>,
): void {
  if (at !== '') throw invalidRequest(`${at}explain`, 'is set in a RankMany', 'send the request with Rank');
  const most = LIMITS.explainedCandidates;
  if (candidateIds.length > most) {
    throw invalidRequest(
      'candidate_ids',
      `has ${candidateIds.length} entries, at most ${most} are allowed with explain`,
      'rank without explain, then explain the candidates of interest',
    );
  }
  const refused = call.refusal(EXPLAINED_RANK);
  if (refused) throw refused;
}
