import type { Auditor } from './audit/auditor.js';
import type { Captures } from './capture/captures.js';
import type { Ranker } from './ranker.js';

/** What looks at answers and what they depended on. Undefined: switched off. */
export interface RankWatchers {
  readonly captures: Captures | undefined;
  readonly auditor: Pick<Auditor, 'offer'> | undefined;
}

/** Returns a ranker whose answers are captured and audited. Without watchers it is the same ranker. */
export function watchRanks(ranker: Ranker, { captures, auditor }: RankWatchers): Ranker {
  if (!captures && !auditor) return ranker;
  return {
    async rank(query, limits) {
      const work = () => ranker.rank(query, limits);
      const answer = await (captures ? captures.around(query, work) : work());
      auditor?.offer(answer);
      return answer;
    },
  };
}
