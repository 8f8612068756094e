import { type ExecFileOptions, execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Packages to fetch. */
export interface PackageFetch {
  /** Folder for what is fetched. Its folder `root` changes only when everything is unpacked. */
  readonly dir: string;
  readonly packages: readonly string[];
  /** False leaves out the packages that these depend on. Default: those that are not installed are fetched as well. */
  readonly dependencies?: boolean;
  /** Ends the commands when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

type Run = (command: string, args: readonly string[], options?: ExecFileOptions) => Promise<string>;

const PARTIAL = '.partial.';
/** A partial folder this old was left by a process that was killed: a fetch takes minutes. */
const LEFT_BEHIND_MS = 3_600_000;

/**
 * Fetches packages of Debian or Ubuntu, and unpacks them without root. Several processes may fetch into one folder:
 * the first to finish is kept.
 * @returns the folder that stands for the root of the file system
 * @throws Error if there is no apt-get or dpkg, or a package cannot be fetched
 */
export async function fetchPackages({ dir, packages, dependencies = true, signal }: PackageFetch): Promise<string> {
  const execute = promisify(execFile);
  const run: Run = async (command, args, options = {}) =>
    String((await execute(command, args, { ...options, ...(signal ? { signal } : {}) })).stdout);

  /** Downloads the packages by the package lists that the options name. */
  async function download(to: string, lists: readonly string[]): Promise<void> {
    const wanted = new Set(packages);
    if (dependencies) {
      const plan = await run('apt-get', ['install', '-s', '--no-install-recommends', ...lists, ...packages]);
      for (const [, missing = ''] of plan.matchAll(/^Inst (\S+)/gm)) wanted.add(missing);
    }
    await run('apt-get', ['download', ...lists, ...wanted], { cwd: to });
  }

  const root = join(dir, 'root');
  const before = await inodeOf(root);
  await mkdir(dir, { recursive: true });
  await removeLeftBehind(dir);
  const partial = await mkdtemp(join(dir, PARTIAL));
  try {
    const [downloads, unpacked] = [join(partial, 'packages'), join(partial, 'root')];
    for (const folder of [downloads, unpacked]) await mkdir(folder);
    await download(downloads, []).catch(async () => {
      // The system's package lists may be missing or stale. Keep separate lists.
      const own = await ownLists(partial);
      await run('apt-get', ['update', ...own]);
      await download(downloads, own);
    });
    for (const file of await readdir(downloads)) await run('dpkg', ['-x', join(downloads, file), unpacked]);
    // The caller could not use a root that was there before. A new one is another process's, and complete.
    if (before !== undefined && (await inodeOf(root)) === before) {
      await rename(root, join(partial, 'before')).catch(() => undefined); // another process may have moved it
    }
    await rename(unpacked, root).catch(async (error) => {
      if ((await inodeOf(root)) === undefined) throw error;
    });
    return root;
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

async function inodeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.ino;
}

async function removeLeftBehind(dir: string): Promise<void> {
  for (const name of (await readdir(dir)).filter((one) => one.startsWith(PARTIAL))) {
    const changed = await stat(join(dir, name)).catch(() => undefined); // another process may remove it
    if (!changed || Date.now() - changed.mtimeMs < LEFT_BEHIND_MS) continue;
    await rm(join(dir, name), { recursive: true, force: true });
  }
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
