import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { demoBundleDir, runQuickstart } from './quickstart.js';
import { summaryTable } from './summary.js';

const USAGE = `npm start -- [options]
  --once             exit after the summary: 0 if all of it worked
  --data FILE        replay an interaction log (.parquet, .csv, .tsv, .jsonl; text also .gz, .xz) instead of a simulated feed
  --columns A=B,…    the log's names for the columns user_id, item_id, timestamp_ms, action, event_id
  --bundle DIR       serve this bundle instead of the demo's
  --users N          simulated users (default 100)
  --positions N      simulated interactions of each (default 1000)
  --help             this`;

const root = process.cwd();
const dir = join(root, '.ckv');

try {
  process.exitCode = await main();
} catch (error) {
  const cause = error instanceof Error && error.cause instanceof Error ? `\n  because: ${error.cause.message}` : '';
  console.error(`\nstart failed: ${error instanceof Error ? error.message : error}${cause}`);
  process.exitCode = 1;
}
process.exit();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      once: { type: 'boolean', default: false },
      data: { type: 'string' },
      bundle: { type: 'string' },
      columns: { type: 'string', default: '' },
      users: { type: 'string', default: '100' },
      positions: { type: 'string', default: '1000' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.data !== undefined && !existsSync(values.data)) throw new Error(`--data: there is no file ${values.data}`);
  await ownFolder();
  for (const part of ['redis', 'logs', 'summary.json']) await rm(join(dir, part), { recursive: true, force: true });

  const stopped = interrupted();
  const { stack, summary, problems } = await runQuickstart({
    dir,
    bundleDir: values.bundle ?? demoBundleDir(root),
    redisUrl: process.env.CKV_REDIS_URL || undefined,
    dataFile: values.data,
    columns: parseColumns(values.columns),
    users: wholeNumber('--users', values.users, 1, 100_000),
    positions: wholeNumber('--positions', values.positions, 1, 100_000),
    rankRequests: 300,
    onProgress: createProgress(),
    stopped,
  });
  await writeFile(join(dir, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
  console.log(`\n${summaryTable(summary)}\n.ckv/summary.json has these figures.`);
  for (const problem of problems) console.error(`problem: ${problem}`);
  if (!values.once && problems.length === 0) {
    console.log(whatNext(stack.targets));
    await Promise.race([stopped, stack.failure]);
    console.log('stopping');
  }
  await stack.stop();
  return problems.length === 0 ? 0 : 1;
}

function whatNext(targets: { ranking: string; updater: string }): string {
  return `The system stays up: ranking on ${targets.ranking}, interactions on ${targets.updater}. In another terminal, try

  npx ckv rank u000001 i0001 i0002 i0003
  npx ckv record u000001 i0003 --action like
  npx ckv user u000001
  npx ckv bundle list
  npx ckv queue

Ctrl-C stops it. Logs are in .ckv/logs.`;
}

/** One start at a time: it owns the folder. */
async function ownFolder(): Promise<void> {
  await mkdir(dir, { recursive: true });
  const file = join(dir, 'start.pid');
  const owner = Number(existsSync(file) ? readFileSync(file, 'utf8') : 0);
  if (owner > 0 && isQuickstart(owner)) throw new Error(`it runs already, as process ${owner}; stop that first`);
  await writeFile(file, `${process.pid}\n`);
  process.on('exit', () => rmSync(file, { force: true }));
}

/** A process id may have gone to somebody else since. */
function isQuickstart(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-p', String(pid), '-o', 'args='], { encoding: 'utf8' });
  return String(stdout).includes('quickstart-main');
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}

function parseColumns(text: string): Record<string, string> {
  const pairs = text === '' ? [] : text.split(',').map((pair) => pair.split('='));
  const bad = pairs.find((pair) => pair.length !== 2 || pair.includes(''));
  if (bad) throw new Error(`--columns: "${bad.join('=')}" is not OURS=THEIRS`);
  return Object.fromEntries(pairs);
}

function wholeNumber(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`${option}: ${text} is no whole number from ${min} to ${max}`);
}

/** On a terminal, updates overwrite each other; elsewhere they come at most every two seconds. */
function createProgress(): (message: string, update?: boolean) => void {
  const startedMs = performance.now();
  const { isTTY } = process.stdout;
  let lastUpdateMs = 0;
  let pending = false;
  return (message, update = false) => {
    const nowMs = performance.now();
    const line = `${((nowMs - startedMs) / 1000).toFixed(1).padStart(6)} s  ${message}`;
    if (update && !isTTY && nowMs - lastUpdateMs < 2_000) return;
    if (isTTY && pending) process.stdout.write('\r\x1b[K');
    lastUpdateMs = nowMs;
    pending = update && isTTY;
    process.stdout.write(pending ? line : `${line}\n`);
  };
}
