import type {
  CandidateExplanation as CandidateMessage,
  Explanation as ExplanationMessage,
} from '@collectivekv/contracts';
import { bytesOf } from '../packed.js';
import type { CandidateExplanation, Explanation } from './explanation.js';

const METHODS = {
  attention: 'EXPLANATION_METHOD_ATTENTION',
  leave_one_out: 'EXPLANATION_METHOD_LEAVE_ONE_OUT',
} as const;

/** Returns the message of an explanation. */
export function explanationMessage({ method, parts, groups, candidates }: Explanation): ExplanationMessage {
  return {
    method: METHODS[method],
    parts: [...parts],
    groups: bytesOf(groups),
    candidates: candidates.map(candidateMessage),
  };
}

function candidateMessage(candidate: CandidateExplanation): CandidateMessage {
  return {
    scoreWithoutHistory: candidate.scoreWithoutHistory,
    contributions: bytesOf(candidate.contributions),
    ownContributions: bytesOf(candidate.ownContributions),
    positions: candidate.positions.map(({ values, attention, ...position }) => ({
      ...position,
      values: [...values],
      attention: bytesOf(attention),
    })),
  };
}
