import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';

/** Options of a run. */
export interface DrillOptions {
  /** Decides every random choice, but not the speed of the processes. */
  readonly seed: string;
  /** True: one short arm with the bundles of the repository, as `npm test` runs it. */
  readonly quick: boolean;
  /** Only this arm; undefined runs all. */
  readonly arm: string | undefined;
  /** True: the trained bundles replace those of the repository. */
  readonly writeBundles: boolean;
}

/** Arms of the drill: without faults, and with kills all the time. */
export const ARMS = ['calm', 'kills'] as const;

/** The text of `npm run drill -- --help`. */
export const USAGE = `npm run drill -- [options]

Trains three bundles, and brings the second and the third into a running system
under load: switch, backfill, canary, rollback. One arm is calm, in the other one
processes are killed. An oracle compares every record and the answers. Writes
test/drill/results; npm run docs writes docs/model-updates.md from it.

  --seed TEXT      repeats the random choices of a run (default: a new seed)
  --arm NAME       this arm alone: ${ARMS.join(' or ')}; writes nothing
  --quick          the short arm of npm test, with the bundles of the
                   repository; writes nothing
  --write-bundles  trains, and replaces the bundles of the repository
                   (test/drill/bundles); drills nothing
  --help           prints this text`;

/**
 * Reads the arguments of `npm run drill`.
 * @returns the options, or undefined for `--help`
 * @throws Error naming the argument and the remedy
 */
export function readOptions(args: readonly string[]): DrillOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string' },
      arm: { type: 'string' },
      quick: { type: 'boolean', default: false },
      'write-bundles': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const { arm } = values;
  if (arm !== undefined && !ARMS.some((name) => name === arm))
    throw new Error(`--arm: ${JSON.stringify(arm)} is not an arm; give ${ARMS.join(' or ')}`);
  return {
    seed: values.seed ?? randomBytes(4).toString('hex'),
    quick: values.quick,
    arm,
    writeBundles: values['write-bundles'],
  };
}
