import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleIdOf } from '@collectivekv/domain';

const TARGET = fileURLToPath(new URL('../../../test/fixtures/bundles/target', import.meta.url));

/** Copies of a small bundle in a folder. Each name gives its copy an id of its own. */
export interface BundleCopies {
  /** The folder of all copies. */
  readonly dir: string;
  readonly dirs: readonly string[];
  readonly ids: readonly string[];
  remove(): void;
}

/** Copies the bundle under each name. A name that begins with `other` gives its copy an encoding of its own. */
export function copyBundles(...names: string[]): BundleCopies {
  const dir = mkdtempSync(join(tmpdir(), 'ckv-pool-'));
  const dirs = names.map((name) => join(dir, name));
  const ids = names.map((name, i) => {
    const copy = dirs[i] as string;
    cpSync(TARGET, copy, { recursive: true });
    const path = join(copy, 'bundle.json');
    const manifest = { ...JSON.parse(readFileSync(path, 'utf8')), name };
    if (name.startsWith('other')) manifest.maxPositions -= 1;
    const bytes = Buffer.from(JSON.stringify(manifest));
    writeFileSync(path, bytes);
    return bundleIdOf(bytes);
  });
  return { dir, dirs, ids, remove: () => rmSync(dir, { recursive: true }) };
}
