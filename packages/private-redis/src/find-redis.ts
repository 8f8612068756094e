import { type ExecFileOptions, execFile } from 'node:child_process';
import { access, constants, mkdir, readdir, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

/** Runs a command and returns its output. */
type Run = (
  command: string,
  args: readonly string[],
  options?: ExecFileOptions,
) => Promise<{ readonly stdout: string }>;

/** Returns a function that runs commands, and ends them when the signal aborts. */
function runUntil(signal: AbortSignal | undefined): Run {
  const execute = promisify(execFile);
  return async (command, args, options = {}) => {
    const { stdout } = await execute(command, args, { ...options, ...(signal ? { signal } : {}) });
    return { stdout: String(stdout) };
  };
}

/** A redis-server that can be started. */
export interface RedisServer {
  readonly path: string;
  /** Variables to add to its environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Options of {@link findRedis}. */
export interface FindOptions {
  /** Folder for a fetched redis-server. */
  readonly dir: string;
  /** Folders to search, joined as in PATH. Default: PATH itself. */
  readonly searchPath?: string;
  /** Ends the search, and the commands that fetch a server, when it aborts. */
  readonly signal?: AbortSignal;
  /** Called before a slow step, with its description. */
  readonly onProgress?: (message: string) => void;
}

const REMEDY =
  'install Redis 6.2 or newer (Debian, Ubuntu: apt install redis-server; macOS: brew install redis; Fedora: dnf install redis), or set CKV_REDIS_URL';

/**
 * Finds a redis-server: one on the PATH, one that an earlier call fetched, or one that this call fetches. The system's
 * package manager fetches without root: Debian and Ubuntu packages are unpacked under `dir`, Homebrew installs its own.
 * @throws Error with one line that says what to install
 */
export async function findRedis({
  dir,
  searchPath = process.env.PATH ?? '',
  signal,
  onProgress,
}: FindOptions): Promise<RedisServer> {
  const installed = await firstExecutable(searchPath.split(delimiter).map((folder) => join(folder, 'redis-server')));
  if (installed) return { path: installed, env: {} };
  const fetched = await unpackedServer(dir);
  if (fetched) return fetched;
  onProgress?.('no redis-server on the PATH: fetching one');
  try {
    const run = runUntil(signal);
    if (process.platform === 'darwin') return await installByHomebrew(run);
    return await unpackDebianPackages(dir, run);
  } catch (cause) {
    signal?.throwIfAborted();
    throw new Error(`there is no redis-server, and none could be fetched; ${REMEDY}`, { cause });
  }
}

async function installByHomebrew(run: Run): Promise<RedisServer> {
  await run('brew', ['install', 'redis']);
  const { stdout } = await run('brew', ['--prefix', 'redis']);
  return { path: join(stdout.trim(), 'bin', 'redis-server'), env: {} };
}

async function unpackDebianPackages(dir: string, run: Run): Promise<RedisServer> {
  const packagesDir = join(dir, 'packages');
  await rm(dir, { recursive: true, force: true });
  await mkdir(packagesDir, { recursive: true });
  await downloadPackages(packagesDir, [], run).catch(async () => {
    // The system's package lists may be missing or stale. Keep separate lists.
    const own = await ownLists(dir);
    await run('apt-get', ['update', ...own]);
    await downloadPackages(packagesDir, own, run);
  });
  const root = join(dir, 'root');
  for (const file of await readdir(packagesDir)) await run('dpkg', ['-x', join(packagesDir, file), root]);
  await rm(packagesDir, { recursive: true });
  const server = await unpackedServer(dir);
  if (!server) throw new Error('the packages hold no redis-server');
  await run(server.path, ['--version'], { env: { ...process.env, ...server.env } });
  return server;
}

/** Downloads redis-server and those of its dependencies that are not installed. */
async function downloadPackages(dir: string, options: readonly string[], run: Run): Promise<void> {
  const wanted = ['redis-server', 'redis-tools'];
  const { stdout } = await run('apt-get', ['install', '-s', '--no-install-recommends', ...options, ...wanted]);
  const missing = [...stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '');
  await run('apt-get', ['download', ...options, ...new Set([...wanted, ...missing])], { cwd: dir });
}

async function ownLists(dir: string): Promise<string[]> {
  const lists = join(dir, 'apt', 'lists');
  const cache = join(dir, 'apt', 'cache');
  await mkdir(join(lists, 'partial'), { recursive: true });
  await mkdir(join(cache, 'archives', 'partial'), { recursive: true });
  return [
    ...['-o', `Dir::State::lists=${lists}`],
    ...['-o', `Dir::Cache=${cache}`],
    ...['-o', 'Debug::NoLocking=1'],
    ...['-o', 'APT::Sandbox::User='],
  ];
}

async function unpackedServer(dir: string): Promise<RedisServer | undefined> {
  const root = join(dir, 'root');
  const path = await firstExecutable([join(root, 'usr', 'bin', 'redis-server')]);
  if (!path) return undefined;
  const folders = [join(root, 'usr', 'lib'), join(root, 'lib')];
  const libraries = (await Promise.all(folders.map(subfolders))).flat();
  return { path, env: { LD_LIBRARY_PATH: [...libraries, ...folders].join(delimiter) } };
}

async function subfolders(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
}

async function firstExecutable(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return path;
  }
  return undefined;
}
