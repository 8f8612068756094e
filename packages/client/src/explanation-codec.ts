import type { CandidateExplanation__Output, Explanation__Output } from '@collectivekv/contracts';
import type { CandidateExplanation, Explanation } from './explanation.js';
import { floatsOf } from './packed-numbers.js';

/** Returns the explanation of a message. */
export function explanationOf({ method, parts, groups, candidates }: Explanation__Output): Explanation {
  return {
    method: method === 'EXPLANATION_METHOD_ATTENTION' ? 'attention' : 'leave_one_out',
    parts,
    groups: new Uint32Array(new Uint8Array(groups).buffer),
    candidates: candidates.map(candidateOf),
  };
}

function candidateOf(candidate: CandidateExplanation__Output): CandidateExplanation {
  return {
    scoreWithoutHistory: candidate.scoreWithoutHistory,
    contributions: floatsOf(candidate.contributions),
    ownContributions: floatsOf(candidate.ownContributions),
    positions: candidate.positions.map(({ values, attention, ...position }) => ({
      ...position,
      values: Object.fromEntries(values.map(({ field, value }) => [field, value])),
      attention: floatsOf(attention),
    })),
  };
}
