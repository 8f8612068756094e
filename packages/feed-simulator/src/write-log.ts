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
import { createFeedSimulator } from './feed-simulator.js';
import { formatExposure, LOG_HEADER, type LogPlan, simulateLog } from './log-csv.js';

function readOptions(): { plan: LogPlan; out: string | undefined } {
  const { values } = parseArgs({
    options: {
      users: { type: 'string', default: '100' },
      'first-user': { type: 'string', default: '0' },
      positions: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
      out: { type: 'string' },
    },
  });
  const whole = (name: 'users' | 'first-user' | 'positions' | 'seed'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw new RangeError(`--${name}: ${JSON.stringify(values[name])} is not a whole number; give 0 or more`);
  };
  const plan = {
    seed: whole('seed'),
    firstUser: whole('first-user'),
    userCount: whole('users'),
    positionCount: whole('positions'),
  };
  return { plan, out: values.out };
}

function* lines(plan: LogPlan): Generator<string> {
  yield `${LOG_HEADER}\n`;
  for (const exposures of simulateLog(createFeedSimulator({ seed: plan.seed }), plan)) {
    yield exposures.map((exposure) => `${formatExposure(exposure)}\n`).join('');
  }
}

try {
  const { plan, out } = readOptions();
  await pipeline(Readable.from(lines(plan)), out === undefined ? process.stdout : createWriteStream(out));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
