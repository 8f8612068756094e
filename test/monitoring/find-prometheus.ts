import { execFile } from 'node:child_process';
import { access, mkdir, readdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
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
  const folders = [...(process.env.PATH ?? '').split(delimiter), join(DIR, 'usr', 'bin')];
  return (await inFolders(folders)) ?? (await fetched());
}

async function inFolders(folders: readonly string[]): Promise<Prometheus | undefined> {
  for (const folder of folders) {
    const found = { prometheus: join(folder, 'prometheus'), promtool: join(folder, 'promtool') };
    const there = await Promise.all(Object.values(found).map((path) => access(path))).then(
      () => true,
      () => false,
    );
    if (there) return found;
  }
  return undefined;
}

async function fetched(): Promise<Prometheus | undefined> {
  try {
    await mkdir(DIR, { recursive: true });
    await run('apt-get', ['download', 'prometheus'], { cwd: DIR });
    const [file] = (await readdir(DIR)).filter((name) => name.endsWith('.deb'));
    await run('dpkg', ['-x', join(DIR, String(file)), DIR]);
    return await inFolders([join(DIR, 'usr', 'bin')]);
  } catch {
    return undefined;
  }
}
