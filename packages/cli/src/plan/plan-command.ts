import { invalidRequest } from '@collectivekv/domain';
import { Command, Option } from 'commander';
import type { Connections } from '../connections.js';
import { wholeNumber } from '../number-options.js';
import { createSection, type Section } from './figure.js';
import { meanOver } from './history-lengths.js';
import { makePlan } from './make-plan.js';
import type { PlanInput } from './plan-input.js';
import { type PlanOptions, planOptions } from './plan-options.js';
import { type NamedBundle, namedBundle } from './planned-bundle.js';
import { planText } from './print-plan.js';
import { readCosts } from './read-costs.js';
import type { ServiceCosts } from './service-costs.js';

const GIB = 2 ** 30;
const HOUR_S = 3_600;
const USUAL_ITEM_ID_BYTES = 12;

/** Creates `ckv plan`. */
export function planCommand(connections: Connections, keyPrefix: () => string): Command {
  const plan = new Command('plan')
    .description('plan a deployment: bytes in Redis, servers, replicas, partitions and network')
    .requiredOption('--bundle <folder or id>', 'a bundle folder, or the id or name of a bundle of the pool service')
    .addOption(
      new Option('--measure', 'measure this machine first: starts Redis and all services with the bundle').conflicts(
        'measured',
      ),
    )
    .option('--seconds <count>', 'time of each of the two measurements', wholeNumber(1, 600), 8)
    .option('--measured <file>', 'take the measured figures of a file that "ckv --json plan --measure" printed');
  for (const option of planOptions()) plan.addOption(option);
  return plan.action(async (options: PlanOptions) => {
    const named = await namedBundle(connections, options.bundle);
    const input = inputOf(options, named, keyPrefix());
    checkBounds(input, named);
    const costs = await costsOf(options, input, named);
    const { sections, warnings } = makePlan(input, named.bundle, costs);
    const made = { sections: [loadSection(plan, input, named), ...sections], warnings };
    const { id, manifest } = named.bundle;
    const figures = made.sections.flatMap((section) => section.figures.map((figure) => [figure.id, figure] as const));
    const answer = {
      bundle: { id, name: manifest.name },
      figures: Object.fromEntries(figures.map(([name, { id: _, ...figure }]) => [name, figure])),
      ...(costs ? { costs } : {}),
      warnings,
    };
    connections.print(answer, () => `${manifest.name} (${id})\n\n${planText(made)}`);
  });
}

function inputOf(options: PlanOptions, { itemIdBytes }: NamedBundle, keyPrefix: string): PlanInput {
  const { redisReplicas, cores, utilisation, spare, encodings, userIdBytes, eventIdBytes, users, candidates } = options;
  return {
    ...{ redisReplicas, cores, utilisation, spare, encodings, userIdBytes, eventIdBytes, users, candidates, keyPrefix },
    lengths: options.positions,
    ratePerS: options.rate,
    ranksPerS: options.ranks,
    callInteractions: options.perCall,
    keyedCalls: options.keyed,
    lagS: options.lag,
    eventLogS: options.eventLog * HOUR_S,
    erasuresPerDay: options.erasures,
    receiptTtlS: options.receiptTtl,
    itemIdBytes: options.itemIdBytes ?? itemIdBytes ?? USUAL_ITEM_ID_BYTES,
    serverBytes: options.serverMemory * GIB,
  };
}

/** Throws invalid_request for a load that the bundle does not take. */
function checkBounds({ lengths, candidates }: PlanInput, { bundle }: NamedBundle): void {
  const { maxPositions, maxCandidates } = bundle.manifest;
  const longest = Math.max(...lengths.map(({ positions }) => positions));
  if (longest > maxPositions) {
    const problem = `${longest} is above ${maxPositions}, the most that a record of the bundle keeps`;
    throw invalidRequest('--positions', problem, 'give the length of the records, not of the histories');
  }
  if (candidates > maxCandidates) {
    throw invalidRequest('--candidates', `${candidates} is above ${maxCandidates}, the bundle's bound`, 'give fewer');
  }
}

async function costsOf(
  { measure, measured, seconds }: PlanOptions,
  { lengths, candidates, callInteractions }: PlanInput,
  { dir }: NamedBundle,
): Promise<ServiceCosts | undefined> {
  if (measured !== undefined) return readCosts(measured);
  if (!measure) return undefined;
  if (dir === undefined) {
    throw invalidRequest('--measure', 'needs the files of the bundle', 'name its folder with --bundle');
  }
  const { calibrate } = await import('./calibrate.js'); // loads the services
  const positions = Math.max(1, Math.round(meanOver(lengths, (count) => count)));
  const onProgress = (message: string) => console.error(message);
  return calibrate({ bundleDir: dir, positions, candidates, callInteractions, seconds, onProgress });
}

/** Returns what the command was given, and what it assumes. */
function loadSection(plan: Command, input: PlanInput, { itemIdBytes }: NamedBundle): Section {
  const { section, given, assumed, computed } = createSection('Load and machines', 'load');
  const isGiven = (option: string) => plan.getOptionValueSource(option) === 'cli';
  const add = (option: string, ...figure: Parameters<typeof given>) => (isGiven(option) ? given : assumed)(...figure);
  add('users', 'users', 'users with a record', input.users, 'count', '--users');
  const positions = meanOver(input.lengths, (count) => count);
  add('positions', 'positions', 'positions of a record, mean', positions, 'count', '--positions');
  add('rate', 'interactionsPerS', 'interactions', input.ratePerS, '/s', '--rate, at the busiest time');
  add('ranks', 'ranksPerS', 'rank requests', input.ranksPerS, '/s', '--ranks, at the busiest time');
  add('candidates', 'candidates', 'candidates of a request', input.candidates, 'count', '--candidates');
  add('perCall', 'callInteractions', 'interactions of a Record call', input.callInteractions, 'count', '--per-call');
  add('lag', 'lagS', 'time without updaters', input.lagS, 's', '--lag');
  add('eventLog', 'eventLogS', 'age of the event log', input.eventLogS, 's', '--event-log');
  add('erasures', 'erasuresPerDay', 'erasures a day', input.erasuresPerDay, 'count', '--erasures');
  add('userIdBytes', 'userIdBytes', 'a user id', input.userIdBytes, 'bytes', '--user-id-bytes');
  if (itemIdBytes === undefined || isGiven('itemIdBytes')) {
    add('itemIdBytes', 'itemIdBytes', 'an item id', input.itemIdBytes, 'bytes', '--item-id-bytes');
  } else {
    computed('itemIdBytes', 'an item id', itemIdBytes, 'bytes', "the mean of the bundle's catalogue");
  }
  add('eventIdBytes', 'eventIdBytes', 'an event id', input.eventIdBytes, 'bytes', '--event-id-bytes');
  add('encodings', 'encodings', 'encodings at once', input.encodings, 'count', '--encodings');
  add('redisReplicas', 'redisReplicas', 'copies of a primary', input.redisReplicas, 'count', '--redis-replicas');
  add('serverMemory', 'serverBytes', 'memory of a machine of Redis', input.serverBytes, 'bytes', '--server-memory');
  add('cores', 'cores', 'cores of a replica', input.cores, 'count', '--cores');
  add('utilisation', 'utilisation', 'processor time to use', input.utilisation, 'share', '--utilisation');
  return section;
}
