import { counted, LIMITS } from '@collectivekv/domain';
import { Command, Option } from 'commander';
import type { Connections } from './connections.js';
import { wholeNumber } from './number-options.js';
import { pairs, table } from './print.js';
import { type RequestOptions, requestOf, withRequestOptions } from './request-options.js';

interface Options extends RequestOptions {
  readonly top?: number;
  readonly history: 'preferred' | 'required' | 'ignored';
  readonly capture?: string;
}

/** Creates `ckv rank`. */
export function rankCommand(connections: Connections): Command {
  const command = new Command('rank')
    .description('rank items for a user, best first')
    .argument('<user>', 'user id')
    .argument('<items...>', 'candidate item ids');
  return withRequestOptions(command)
    .option('--top <count>', 'return the best <count> items; default: all items', wholeNumber(1, LIMITS.candidates))
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
      const { ranked, info } = await connections.client().rank({
        ...(await requestOf(connections, { userId, candidateIds, options, command })),
        history: options.history,
        ...(options.top === undefined ? {} : { topK: options.top }),
        ...(options.capture === undefined ? {} : { captureId: options.capture }),
      });
      connections.print({ ranked, info }, () => {
        const why = info.rungReason === '' ? '' : ` (${info.rungReason})`;
        const history = info.coldUser ? 'no record yet' : `${counted(info.positionCount, 'position')}`;
        return `${table(
          ['rank', 'item', 'score'],
          ranked.map(({ itemId, score }, i) => [i + 1, itemId, score.toFixed(6)]),
        )}\n${pairs([
          ['bundle', info.bundleId],
          ['encoding', info.encodingId],
          ['history', history],
          ['rung', `${info.rung}${why}`],
          ['unknown items', info.unknownCandidateCount],
          ['computed by', `${info.device}, ${info.precision}`],
          ...(info.capture === 'none' ? [] : ([['capture', info.capture]] as const)),
          ['time in the service', `${((info.timings?.totalUs ?? 0) / 1000).toFixed(1)} ms`],
        ])}`;
      });
    });
}
