import { execFile } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { fetchPackages, firstExecutable, libraryVariables } from '@collectivekv/debian-packages';

const run = promisify(execFile);

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
  const fetched = await unpackedServer(dir, signal).catch(() => undefined); // one that does not run is fetched again
  signal?.throwIfAborted();
  if (fetched) return fetched;
  onProgress?.('no redis-server on the PATH: fetching one');
  try {
    if (process.platform === 'darwin') return await installByHomebrew(signal);
    return await unpackDebianPackages(dir, signal);
  } catch (cause) {
    signal?.throwIfAborted();
    throw new Error(`there is no redis-server, and none could be fetched; ${REMEDY}`, { cause });
  }
}

async function installByHomebrew(signal: AbortSignal | undefined): Promise<RedisServer> {
  const options = signal ? { signal } : {};
  await run('brew', ['install', 'redis'], options);
  const { stdout } = await run('brew', ['--prefix', 'redis'], options);
  return { path: join(stdout.trim(), 'bin', 'redis-server'), env: {} };
}

async function unpackDebianPackages(dir: string, signal: AbortSignal | undefined): Promise<RedisServer> {
  await fetchPackages({ dir, packages: ['redis-server', 'redis-tools'], signal });
  const server = await unpackedServer(dir, signal);
  if (!server) throw new Error('the packages hold no redis-server');
  return server;
}

/** Returns the server that was unpacked. Throws if it does not run, because libraries are missing for example. */
async function unpackedServer(dir: string, signal: AbortSignal | undefined): Promise<RedisServer | undefined> {
  const root = join(dir, 'root');
  const path = await firstExecutable([join(root, 'usr', 'bin', 'redis-server')]);
  if (!path) return undefined;
  const env = await libraryVariables(root);
  await run(path, ['--version'], { env: { ...process.env, ...env }, ...(signal ? { signal } : {}) });
  return { path, env };
}
