import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchPackages, firstExecutable } from '@collectivekv/debian-packages';

const DIR = fileURLToPath(new URL('../../.ckv/prometheus', import.meta.url));

/** Paths of Prometheus's programs. */
export interface Prometheus {
  readonly prometheus: string;
  readonly promtool: string;
}

/**
 * Finds Prometheus on the PATH, or fetches Debian's package into `.ckv/prometheus`, without root. Returns undefined
 * where there is neither.
 */
export async function findPrometheus(): Promise<Prometheus | undefined> {
  const folders = [...(process.env.PATH ?? '').split(delimiter), join(DIR, 'root', 'usr', 'bin')];
  return (await inFolders(folders)) ?? (await fetched());
}

async function inFolders(folders: readonly string[]): Promise<Prometheus | undefined> {
  const at = (program: string) => firstExecutable(folders.map((folder) => join(folder, program)));
  const [prometheus, promtool] = await Promise.all([at('prometheus'), at('promtool')]);
  return prometheus && promtool ? { prometheus, promtool } : undefined;
}

async function fetched(): Promise<Prometheus | undefined> {
  try {
    const root = await fetchPackages({ dir: DIR, packages: ['prometheus'], dependencies: false }); // they are static
    return await inFolders([join(root, 'usr', 'bin')]);
  } catch {
    return undefined;
  }
}
