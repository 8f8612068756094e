import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { COUNTS, type Count } from './oracle/verdict.js';

/** Options of a run. */
export interface ChaosOptions {
  /** Decides every random choice of the run, but not the speed of the processes. */
  readonly seed: string;
  /** The scenarios of `npm test` alone, with fewer faults. */
  readonly quick: boolean;
  /** Names of the scenarios to run; undefined runs all. */
  readonly only: readonly string[] | undefined;
  /** Causes only the faults whose name has this text. */
  readonly onlyFaults: string;
  /** Runs with new seeds until a scenario fails or the run is stopped. */
  readonly forever: boolean;
  /** Prints the scenarios and runs none. */
  readonly list: boolean;
  /** Ends a scenario after the first fault with one of these counts above zero. */
  readonly stopAt: readonly Count[];
  /** Scenarios that run at once, each with processes of its own. */
  readonly parallel: number;
  /** Prints the outcomes as one line of JSON. */
  readonly json: boolean;
  /** Takes protections out, one after the other: these, or all if the list is empty. Undefined takes none out. */
  readonly sabotage: readonly string[] | undefined;
  /** True: writes the outcomes to the results file. */
  readonly keep: boolean;
}

const MAX_PARALLEL = 8;

/** The text of `npm run chaos -- --help`. */
export const USAGE = `npm run chaos -- [options]

Runs scenarios of faults against real processes. An oracle counts what is lost,
doubled, moved or stuck. Writes test/chaos/results; npm run docs writes
docs/reliability.md from it.

  --seed TEXT    repeats the random choices of a run (default: a new seed)
  --quick        the scenarios of npm test alone, with fewer faults; writes nothing
  --only A,B     these scenarios alone; the results of the others stay
  --fault TEXT   only the faults whose name has this text; writes nothing
  --forever      runs with new seeds until a scenario fails; writes nothing
  --parallel N   scenarios that run at once, 1 to 8 (default 2)
  --stop-at A,B  ends a scenario after the first fault with one of these counts
                 above zero, such as lost,duplicated; writes nothing
  --json         also prints the outcomes as one line of JSON
  --sabotage     takes protections out of the built product, one by one, and runs
                 the scenario that must notice it; --sabotage A,B takes these
  --list         prints the scenarios
  --help         prints this text`;

/**
 * Reads the arguments of `npm run chaos`.
 * @returns the options, or undefined for `--help`
 * @throws Error naming the argument and the remedy
 */
export function readOptions(args: readonly string[], names: readonly string[]): ChaosOptions | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seed: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      fault: { type: 'string', default: '' },
      forever: { type: 'boolean', default: false },
      'stop-at': { type: 'string', default: '' },
      parallel: { type: 'string', default: '2' },
      json: { type: 'boolean', default: false },
      sabotage: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const only = values.only?.split(',');
  const unknown = only?.filter((name) => !names.includes(name)) ?? [];
  if (unknown.length > 0) throw new Error(`--only: unknown scenario ${unknown.join(', ')}; --list prints them`);
  if (positionals.length > 0 && !values.sabotage)
    throw new Error(`${positionals[0]}: unknown; --help prints the options`);
  const parallel = Number(values.parallel);
  if (!Number.isInteger(parallel) || parallel < 1 || parallel > MAX_PARALLEL)
    throw new Error(`--parallel: ${JSON.stringify(values.parallel)} is not a whole number from 1 to ${MAX_PARALLEL}`);
  const stopAt = values['stop-at'] === '' ? [] : values['stop-at'].split(',').map(countOf);
  const partial = values.quick || values.forever || values.fault !== '' || stopAt.length > 0;
  return {
    seed: values.seed ?? randomBytes(4).toString('hex'),
    quick: values.quick,
    only,
    onlyFaults: values.fault,
    forever: values.forever,
    list: values.list,
    parallel,
    stopAt,
    json: values.json,
    sabotage: values.sabotage ? positionals.flatMap((names) => names.split(',')) : undefined,
    keep: !partial,
  };
}

function countOf(text: string): Count {
  const count = COUNTS.find((name) => name === text);
  if (count) return count;
  throw new Error(`--stop-at: unknown count ${text}; give some of ${COUNTS.join(', ')}`);
}
