#!/usr/bin/env node
/**
 * Writes a simulated interaction log as CSV.
 *
 *     node dist/write-log.js --users 100 --positions 1000 --out log.csv
 *
 * Without `--out`, the log goes to standard output. The same options give the same bytes.
 */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { createFeedSimulator, type FeedSimulatorOptions } from './feed-simulator.js';
import { formatExposure, LOG_HEADER, type LogPlan, simulateLog } from './log-csv.js';

const USAGE = `node write-log.js [options]

Writes a simulated interaction log as CSV. The same options give the same bytes.

  --users N          number of users (default 100)
  --first-user N     number of the first user (default 0)
  --positions N      interactions of each user (default 200)
  --seed N           seed of the simulation (default 1)
  --items N          number of items (default 2000)
  --topics N         number of topics, 2 or more (default one for 50 items)
  --repeats SHARE    share of repeated items, below 1 (default 0)
  --out FILE         file to write (default: standard output)
  --help             print this text`;

interface Options {
  readonly plan: LogPlan;
  readonly world: FeedSimulatorOptions;
  readonly out: string | undefined;
}

/** Returns undefined if the caller asks for the usage. */
function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      users: { type: 'string', default: '100' },
      'first-user': { type: 'string', default: '0' },
      positions: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
      items: { type: 'string', default: '2000' },
      topics: { type: 'string' },
      repeats: { type: 'string', default: '0' },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const number = (name: keyof typeof values, isValid: (value: number) => boolean, valid: string): number => {
    const value = Number(values[name]);
    if (isValid(value)) return value;
    throw new RangeError(`--${name}: ${JSON.stringify(values[name])} is not ${valid}`);
  };
  const whole = (name: keyof typeof values): number =>
    number(name, (value) => Number.isSafeInteger(value) && value >= 0, 'a whole number; give 0 or more');
  const seed = whole('seed');
  return {
    plan: { seed, firstUser: whole('first-user'), userCount: whole('users'), positionCount: whole('positions') },
    world: {
      seed,
      itemCount: whole('items'),
      repeatShare: number('repeats', (value) => value >= 0 && value < 1, 'a share; give 0 or more, and less than 1'),
      ...(values.topics === undefined ? {} : { topicCount: whole('topics') }),
    },
    out: values.out,
  };
}

function* lines({ plan, world }: Options): Generator<string> {
  yield `${LOG_HEADER}\n`;
  for (const exposures of simulateLog(createFeedSimulator(world), plan)) {
    yield exposures.map((exposure) => `${formatExposure(exposure)}\n`).join('');
  }
}

try {
  const options = readOptions();
  if (options) {
    const { out } = options;
    await pipeline(Readable.from(lines(options)), out === undefined ? process.stdout : createWriteStream(out));
  } else console.log(USAGE);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
