import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { startConsole } from './console.js';
import { orAborted } from './or-aborted.js';
import { demoBundleDir, type QuickstartRun, runQuickstart } from './quickstart.js';
import type { RankCase } from './quickstart-feed.js';
import { parseQuickstartArguments, QUICKSTART_USAGE } from './quickstart-options.js';
import type { ServiceProcess } from './service-process.js';
import { summaryTable } from './summary.js';

const root = process.cwd();
const dir = join(root, '.ckv');

/** Why the quickstart was told to stop. */
class Stopped extends Error {
  constructor(readonly exitCode: number) {
    super('stopped before the summary');
  }
}

const stopping = stopOnSignal();
try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof Stopped) {
    console.log(`\n${error.message}`);
    process.exit(error.exitCode);
  }
  const cause = error instanceof Error && error.cause instanceof Error ? `\n  cause: ${error.cause.message}` : '';
  const hint = isUnknownOption(error) ? '\n  "npm start -- --help" lists the options' : '';
  console.error(`\nstart failed: ${error instanceof Error ? error.message : error}${cause}${hint}`);
  process.exitCode = 1;
}
process.exit();

async function main(): Promise<number> {
  const given = parseQuickstartArguments(process.argv.slice(2));
  if (given.help) {
    console.log(QUICKSTART_USAGE);
    return 0;
  }
  const options = {
    ...given,
    dir,
    bundleDir: given.bundleDir ?? demoBundleDir(root),
    redisUrl: process.env.CKV_REDIS_URL || undefined,
    redisTls: redisTlsVariables(),
    rankRequests: 300,
  };
  await ownFolder();
  for (const part of ['redis', 'logs', 'pool-state', 'summary.json'])
    await rm(join(dir, part), { recursive: true, force: true });

  const run = await runQuickstart({ ...options, onProgress: createProgress(), signal: stopping });
  const { stack, summary, problems } = run;
  await writeFile(join(dir, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
  console.log(`\n${summaryTable(summary)}\nThese figures are also in .ckv/summary.json.`);
  for (const problem of problems) console.error(`problem: ${problem}`);
  if (!given.once && problems.length === 0) {
    await untilStopped(run, options.redisTls);
    console.log('stopping');
  }
  await stack.stop();
  return problems.length === 0 ? 0 : 1;
}

/** Starts the console, says what there is, and waits until this process is told to stop. */
async function untilStopped({ stack, example }: QuickstartRun, env: Readonly<Record<string, string>>): Promise<void> {
  let page: ServiceProcess | undefined;
  try {
    page = await startConsole(stack, { dir, env, usualPort: true, signal: stopping });
    await addToStackFile(page.address);
    console.log(whatNext({ ...stack.targets, console: page.address }, example));
    await orAborted(stack.failure, stopping);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  } finally {
    await page?.stop();
  }
}

/** Adds the console's address to the file that describes the stack. */
async function addToStackFile(consoleAddress: string): Promise<void> {
  const file = join(dir, 'stack.json');
  const written = `${file}.new`; // a reader never sees a part of the file
  const stack = { ...JSON.parse(await readFile(file, 'utf8')), console: consoleAddress };
  await writeFile(written, `${JSON.stringify(stack, null, 2)}\n`, { mode: 0o600 }); // the URL may hold a password
  await rename(written, file);
}

function whatNext(
  targets: { ranking: string; updater: string; console: string },
  { userId, candidateIds }: RankCase,
): string {
  const user = quoted(userId);
  const items = candidateIds.slice(0, 3).map(quoted);
  return `The system keeps running: ranking on ${targets.ranking}, updater on ${targets.updater}.

The console is on http://${targets.console}: open it, and look ${userId} up. Or in another terminal, try

  npx ckv rank ${user} ${items.join(' ')}
  npx ckv record ${user} ${items[0]} --action like
  npx ckv user ${user}
  npx ckv bundle list
  npx ckv queue

Bundles that you copy to .ckv/bundles can be activated: docs/model-updates.md. Ctrl-C stops it. Logs are in .ckv/logs.`;
}

/** Returns an id as a shell reads it. */
function quoted(id: string): string {
  return /^[\w.:@-]+$/.test(id) ? id : `'${id.replaceAll("'", "'\\''")}'`;
}

/** Claims the folder .ckv for this process. Only one quickstart may run at a time. */
async function ownFolder(): Promise<void> {
  await mkdir(dir, { recursive: true });
  const file = join(dir, 'start.pid');
  const owner = Number(existsSync(file) ? readFileSync(file, 'utf8') : 0);
  if (owner > 0 && isQuickstart(owner))
    throw new Error(`the quickstart already runs as process ${owner}; stop it first`);
  await writeFile(file, `${process.pid}\n`);
  process.on('exit', () => rmSync(file, { force: true }));
}

/** True if the process is a quickstart. Another program may have got the process id in the meantime. */
function isQuickstart(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-p', String(pid), '-o', 'args='], { encoding: 'utf8' });
  return String(stdout).includes('quickstart-main');
}

function isUnknownOption(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}

/**
 * Returns a signal that aborts when this process is told to stop: by Ctrl-C, by SIGTERM, because its terminal was
 * closed, or because `npm start` has ended.
 */
function stopOnSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (exitCode: number) => controller.abort(new Stopped(exitCode));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => stop(128 + constants.signals[name]));
  }
  process.once('disconnect', () => stop(128 + constants.signals.SIGTERM));
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined); // nobody reads any more
  return controller.signal;
}

/**
 * Creates a printer of progress. On a terminal, updates overwrite each other. Elsewhere they are at least 2 s apart.
 */
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

/** Returns the variables for TLS to Redis that are set. */
function redisTlsVariables(): Record<string, string> {
  const set = Object.entries(process.env).filter(([name, value]) => name.startsWith('CKV_REDIS_TLS_') && value);
  return Object.fromEntries(set) as Record<string, string>;
}
