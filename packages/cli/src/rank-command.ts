import { LIMITS } from '@collectivekv/domain';
import { Command, Option } from 'commander';
import { bundleIdOf } from './bundle-id.js';
import type { Connections } from './connections.js';
import { countProblem, namedNumber, namedNumbers, wholeNumber } from './number-options.js';
import { pairs, table } from './print.js';

interface Options {
  readonly feature?: Record<string, number[]>;
  readonly context?: Record<string, number>;
  readonly top?: number;
  readonly history: 'preferred' | 'required' | 'ignored';
  readonly staleness?: number;
  readonly bundle?: string;
  readonly capture?: string;
}

/** Creates `ckv rank`. */
export function rankCommand(connections: Connections): Command {
  return new Command('rank')
    .description('rank items for a user, best first')
    .argument('<user>', 'user id')
    .argument('<items...>', 'candidate item ids')
    .option(
      '--feature <name=v,v,…>',
      "candidate feature, one number for each item; repeatable; default: the bundle's default",
      namedNumbers,
    )
    .option('--context <name=v>', "context feature; repeatable; default: the bundle's default", namedNumber)
    .option('--top <count>', 'return the best <count> items; default: all items', wholeNumber(1, LIMITS.candidates))
    .option(
      '--staleness <ms>',
      `accept a cached record up to <ms> milliseconds old, at most ${LIMITS.maxStalenessMs}; default 0: read the record`,
      wholeNumber(0, LIMITS.maxStalenessMs),
    )
    .option('--bundle <id>', 'rank by this bundle, an id or a name; default: the active bundle')
    .option('--capture <id>', 'capture the request under this id, for "ckv replay"; default: no capture')
    .addOption(
      new Option(
        '--history <policy>',
        'If the history cannot be read, "preferred" ranks without it and "required" fails. "ignored" never reads it.',
      )
        .choices(['preferred', 'required', 'ignored'])
        .default('preferred'),
    )
    .action(async (userId: string, candidateIds: string[], options: Options, command: Command) => {
      const problem = countProblem(options.feature ?? {}, candidateIds.length);
      if (problem !== undefined) command.error(`error: ${problem}`);
      const bundleId = options.bundle === undefined ? undefined : await bundleIdOf(connections, options.bundle);
      const { ranked, info } = await connections.client().rank({
        userId,
        candidateIds,
        candidateFeatures: options.feature ?? {},
        contextFeatures: options.context ?? {},
        history: options.history,
        ...(options.top === undefined ? {} : { topK: options.top }),
        ...(options.staleness === undefined ? {} : { maxStalenessMs: options.staleness }),
        ...(bundleId === undefined ? {} : { bundleId }),
        ...(options.capture === undefined ? {} : { captureId: options.capture }),
      });
      connections.print({ ranked, info }, () => {
        const why = info.rungReason === '' ? '' : ` (${info.rungReason})`;
        const history = info.coldUser ? 'no record yet' : `${info.positionCount} positions`;
        return `${table(
          ['rank', 'item', 'score'],
          ranked.map(({ itemId, score }, i) => [i + 1, itemId, score.toFixed(6)]),
        )}\n${pairs([
          ['bundle', info.bundleId],
          ['encoding', info.encodingId],
          ['history', history],
          ['rung', `${info.rung}${why}`],
          ['unknown items', info.unknownCandidateCount],
          ...(info.capture === 'none' ? [] : ([['capture', info.capture]] as const)),
          ['time in the service', `${((info.timings?.totalUs ?? 0) / 1000).toFixed(1)} ms`],
        ])}`;
      });
    });
}
