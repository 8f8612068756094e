import { execFile } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { fetchPackages, firstExecutable, libraryVariables } from '@collectivekv/debian-packages';
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
  const folders = (process.env.PATH ?? '').split(delimiter);
  const installed = await firstExecutable(folders.flatMap((folder) => NAMES.map((name) => join(folder, name))));
  if (installed) return { path: installed, env: {} };
  return (await unpacked().catch(() => undefined)) ?? (await fetched()); // one that does not run is fetched again
}

async function fetched(): Promise<Chromium | undefined> {
  try {
    await fetchPackages({ dir: DIR, packages: ['chromium', 'chromium-common'] });
    return await unpacked();
  } catch {
    return undefined;
  }
}

/** Returns the browser that was unpacked. Throws if it does not run. */
async function unpacked(): Promise<Chromium | undefined> {
  const root = join(DIR, 'root');
  // The program itself: Debian's script looks for its files in /usr.
  const path = await firstExecutable([join(root, 'usr', 'lib', 'chromium', 'chromium')]);
  if (!path) return undefined;
  const env = await libraryVariables(root);
  await run(path, ['--version'], { env: { ...process.env, ...env } });
  return { path, env };
}
