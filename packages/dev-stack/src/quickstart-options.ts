import { parseArgs } from 'node:util';
import { repeated } from '@collectivekv/domain';
import type { ColumnMap } from '@collectivekv/interaction-log';

const MAX_COUNT = 100_000;

/** What `npm start -- --help` prints. */
export const QUICKSTART_USAGE = `npm start -- [options]

Starts Redis and all services, streams interactions through them, ranks, and prints a summary.

  --once             exit after the summary, with code 0 if everything worked
  --data FILE        replay an interaction log instead of a simulated feed:
                     .parquet, .csv, .tsv or .jsonl; text files also as .gz or .xz
  --columns A=B,…    with --data: column A is called B in the file;
                     A is user_id, item_id, timestamp_ms, action, label, event_id or a feature
  --bundle DIR       serve the bundle in this folder (default bundles/demo); others
                     that are copied to .ckv/bundles can follow it
  --users N          number of simulated users, 1 to ${MAX_COUNT} (default 100)
  --positions N      interactions of each simulated user, 1 to ${MAX_COUNT} (default 1000)
  --help             print this text

Set CKV_REDIS_URL to use an existing Redis instead of a private one.`;

/** Options of `npm start`. */
export interface QuickstartArguments {
  readonly help: boolean;
  readonly once: boolean;
  readonly dataFile: string | undefined;
  readonly columns: ColumnMap;
  readonly bundleDir: string | undefined;
  readonly users: number;
  readonly positions: number;
}

/**
 * Reads the options of `npm start`.
 * @throws Error naming the option and the remedy
 */
export function parseQuickstartArguments(args: readonly string[]): QuickstartArguments {
  const { values, tokens } = parseArgs({
    args: [...args],
    tokens: true,
    options: {
      once: { type: 'boolean' },
      data: { type: 'string' },
      bundle: { type: 'string' },
      columns: { type: 'string' },
      users: { type: 'string' },
      positions: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const names = tokens.flatMap((token) => (token.kind === 'option' ? [token.name] : []));
  const [twice] = repeated(names);
  if (twice !== undefined) {
    const remedy = twice === 'data' ? 'join the files into one' : 'leave one out';
    throw new Error(`--${twice}: is given twice; ${remedy}`);
  }
  if (values.data === undefined && values.columns !== undefined) {
    throw new Error('--columns: has no meaning without --data; give --data FILE, or leave it out');
  }
  for (const name of ['users', 'positions'] as const) {
    if (values.data !== undefined && values[name] !== undefined)
      throw new Error(`--${name}: has no meaning with --data, which replays the whole file; leave it out`);
  }
  return {
    help: values.help ?? false,
    once: values.once ?? false,
    dataFile: values.data,
    columns: parseColumns(values.columns ?? ''),
    bundleDir: values.bundle,
    users: wholeNumber('--users', values.users ?? '100'),
    positions: wholeNumber('--positions', values.positions ?? '1000'),
  };
}

function parseColumns(text: string): ColumnMap {
  const columns: Record<string, string> = {};
  for (const pair of text === '' ? [] : text.split(',')) {
    const [ours = '', name = '', ...rest] = pair.split('=');
    if (ours === '' || name === '' || rest.length > 0)
      throw new Error(`--columns: "${pair}" has not the form A=B, such as user_id=uid`);
    if (Object.hasOwn(columns, ours)) throw new Error(`--columns: ${ours} is given twice; leave one out`);
    columns[ours] = name;
  }
  return columns;
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= MAX_COUNT) return value;
  throw new Error(`${option}: "${text}" is not a whole number from 1 to ${MAX_COUNT}`);
}
