import type { RankInput } from '@collectivekv/client';
import { LIMITS } from '@collectivekv/domain';
import type { Command } from 'commander';
import { bundleIdOf } from './bundle-id.js';
import type { Connections } from './connections.js';
import { countProblem, namedNumber, namedNumbers, wholeNumber } from './number-options.js';

/** Options of a request to rank. */
export interface RequestOptions {
  readonly feature?: Record<string, number[]>;
  readonly context?: Record<string, number>;
  readonly staleness?: number;
  readonly bundle?: string;
}

/** Adds the options of a request to a command. */
export function withRequestOptions(command: Command): Command {
  return command
    .option(
      '--feature <name=v,v,…>',
      "candidate feature, one number for each item; repeatable; default: the bundle's default",
      namedNumbers,
    )
    .option('--context <name=v>', "context feature; repeatable; default: the bundle's default", namedNumber)
    .option(
      '--staleness <ms>',
      `accept a cached record up to <ms> milliseconds old, at most ${LIMITS.maxStalenessMs}; default 0: read the record`,
      wholeNumber(0, LIMITS.maxStalenessMs),
    )
    .option('--bundle <id>', 'rank by this bundle, an id or a name; default: the active bundle');
}

/** What a command was called with. */
export interface Asked {
  readonly userId: string;
  readonly candidateIds: readonly string[];
  readonly options: RequestOptions;
  readonly command: Command;
}

/** Returns the request. Ends the command if a feature does not have one number for each item. */
export async function requestOf(connections: Connections, asked: Asked): Promise<RankInput> {
  const { userId, candidateIds, options, command } = asked;
  const problem = countProblem(options.feature ?? {}, candidateIds.length);
  if (problem !== undefined) command.error(`error: ${problem}`);
  const bundleId = options.bundle === undefined ? undefined : await bundleIdOf(connections, options.bundle);
  return {
    userId,
    candidateIds,
    candidateFeatures: options.feature ?? {},
    contextFeatures: options.context ?? {},
    ...(options.staleness === undefined ? {} : { maxStalenessMs: options.staleness }),
    ...(bundleId === undefined ? {} : { bundleId }),
  };
}
