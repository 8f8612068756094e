import { execFile } from 'node:child_process';
import { access, constants, mkdir, readdir, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

import { promisify } from 'node:util';
import { ROOT } from './root.js';

const run = promisify(execFile);
const DIR = join(ROOT, '.ckv/chromium');
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** A browser that can be started. */
export interface Chromium {
  readonly path: string;
  /** Variables to add to its environment. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Finds Chromium on the PATH, or fetches Debian's packages into `.ckv/chromium`, without root.
 * @returns undefined where there is neither
 */
export async function findChromium(): Promise<Chromium | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of NAMES) if (await isExecutable(join(folder, name))) return { path: join(folder, name), env: {} };
  }
  return (await unpacked()) ?? (await fetched());
}

async function fetched(): Promise<Chromium | undefined> {
  const packages = join(DIR, 'packages');
  try {
    await rm(DIR, { recursive: true, force: true });
    await mkdir(packages, { recursive: true });
    const { stdout } = await run('apt-get', ['install', '-s', '--no-install-recommends', 'chromium']);
    const missing = [...stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '');
    await run('apt-get', ['download', ...new Set(['chromium', 'chromium-common', ...missing])], { cwd: packages });
    for (const file of await readdir(packages)) await run('dpkg', ['-x', join(packages, file), join(DIR, 'root')]);
    await rm(packages, { recursive: true });
    const found = await unpacked();
    if (found) await run(found.path, ['--version'], { env: { ...process.env, ...found.env } });
    return found;
  } catch {
    return undefined;
  }
}

async function unpacked(): Promise<Chromium | undefined> {
  const root = join(DIR, 'root', 'usr', 'lib');
  const path = join(root, 'chromium', 'chromium'); // the program itself: Debian's script looks for its files in /usr
  if (!(await isExecutable(path))) return undefined;
  const entries = await readdir(root, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(root, name));
  const deeper = await Promise.all(
    folders.map(async (folder) => {
      const inside = await readdir(folder, { withFileTypes: true });
      return inside.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
    }),
  );
  return { path, env: { LD_LIBRARY_PATH: [...folders, ...deeper.flat()].join(delimiter) } };
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
