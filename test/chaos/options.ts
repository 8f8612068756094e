import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';

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
  /** Folder of the results; undefined writes none. */
  readonly out: string | undefined;
}

/** The text of `npm run chaos -- --help`. */
export const USAGE = `npm run chaos -- [options]

Runs scenarios of faults against real processes. An oracle counts what is lost,
doubled, moved or stuck. Writes test/chaos/results and docs/reliability.md.

  --seed TEXT    repeats the random choices of a run (default: a new seed)
  --quick        the scenarios of npm test alone, with fewer faults; writes nothing
  --only A,B     these scenarios alone; writes nothing
  --fault TEXT   only the faults whose name has this text; writes nothing
  --forever      runs with new seeds until a scenario fails; writes nothing
  --list         prints the scenarios
  --help         prints this text`;

/**
 * Reads the arguments of `npm run chaos`.
 * @returns the options, or undefined for `--help`
 * @throws Error naming the argument and the remedy
 */
export function readOptions(args: readonly string[], names: readonly string[]): ChaosOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      fault: { type: 'string', default: '' },
      forever: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const only = values.only?.split(',');
  const unknown = only?.filter((name) => !names.includes(name)) ?? [];
  if (unknown.length > 0) throw new Error(`--only: unknown scenario ${unknown.join(', ')}; --list prints them`);
  const whole = !values.quick && !values.forever && only === undefined && values.fault === '';
  return {
    seed: values.seed ?? randomBytes(4).toString('hex'),
    quick: values.quick,
    only,
    onlyFaults: values.fault,
    forever: values.forever,
    list: values.list,
    out: whole ? 'test/chaos/results' : undefined,
  };
}
