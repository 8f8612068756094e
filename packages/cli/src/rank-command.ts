import { Command, Option } from 'commander';
import type { Connections } from './connections.js';
import { namedNumbers, single, wholeNumber } from './number-options.js';
import { pairs, table } from './print.js';

interface Options {
  readonly feature?: Record<string, number[]>;
  readonly context?: Record<string, number[]>;
  readonly top?: number;
  readonly history: 'preferred' | 'required' | 'ignored';
  readonly staleness?: number;
  readonly bundle?: string;
}

/** `ckv rank`. */
export function rankCommand(connections: Connections): Command {
  return new Command('rank')
    .description('rank items for a user')
    .argument('<user>', 'user id')
    .argument('<items...>', 'candidate item ids')
    .option('--feature <name=v,v,…>', 'candidate feature, one value for each item', namedNumbers)
    .option('--context <name=v>', 'context feature', namedNumbers)
    .option('--top <count>', 'show only the best', wholeNumber)
    .option('--staleness <ms>', 'allow a copy of the record so old', wholeNumber)
    .option('--bundle <id>', 'rank by this bundle')
    .addOption(
      new Option('--history <policy>', "what to do about the user's history")
        .choices(['preferred', 'required', 'ignored'])
        .default('preferred'),
    )
    .action(async (userId: string, candidateIds: string[], options: Options) => {
      const { ranked, info } = await connections.client().rank({
        userId,
        candidateIds,
        candidateFeatures: options.feature ?? {},
        contextFeatures: single(options.context),
        history: options.history,
        ...(options.top === undefined ? {} : { topK: options.top }),
        ...(options.staleness === undefined ? {} : { maxStalenessMs: options.staleness }),
        ...(options.bundle === undefined ? {} : { bundleId: options.bundle }),
      });
      connections.print({ ranked, info }, () => {
        const why = info.rungReason === '' ? '' : ` (${info.rungReason})`;
        const history = info.coldUser ? 'none yet' : `${info.positionCount} positions`;
        return `${table(
          ['', 'item', 'score'],
          ranked.map(({ itemId, score }, i) => [i + 1, itemId, score.toFixed(6)]),
        )}\n${pairs([
          ['bundle', info.bundleId],
          ['history', history],
          ['rung', `${info.rung}${why}`],
          ['unknown items', info.unknownCandidateCount],
          ['took', `${((info.timings?.totalUs ?? 0) / 1000).toFixed(1)} ms`],
        ])}`;
      });
    });
}
