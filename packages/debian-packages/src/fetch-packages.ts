import { type ExecFileOptions, execFile } from 'node:child_process';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Packages to fetch. */
export interface PackageFetch {
  /** Folder for what is fetched. It is emptied first. */
  readonly dir: string;
  readonly packages: readonly string[];
  /** False leaves out the packages that these depend on. Default: those that are not installed are fetched as well. */
  readonly dependencies?: boolean;
  /** Ends the commands when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

type Run = (command: string, args: readonly string[], options?: ExecFileOptions) => Promise<string>;

/**
 * Fetches packages of Debian or Ubuntu, and unpacks them without root.
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

  const downloads = join(dir, 'packages');
  await rm(dir, { recursive: true, force: true });
  await mkdir(downloads, { recursive: true });
  await download(downloads, []).catch(async () => {
    // The system's package lists may be missing or stale. Keep separate lists.
    const own = await ownLists(dir);
    await run('apt-get', ['update', ...own]);
    await download(downloads, own);
  });
  const root = join(dir, 'root');
  for (const file of await readdir(downloads)) await run('dpkg', ['-x', join(downloads, file), root]);
  await rm(downloads, { recursive: true });
  return root;
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
