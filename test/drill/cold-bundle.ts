import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleIdOf } from '@collectivekv/domain';

/**
 * Writes a copy of a bundle whose encoding nobody has records of: its vocabulary has one action more, which nobody
 * sends.
 * @returns its id
 */
export async function writeColdBundle(from: string, to: string): Promise<string> {
  await cp(from, to, { recursive: true });
  const path = join(to, 'bundle.json');
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  const actions = [...manifest.actions, 'never sent'];
  const bytes = Buffer.from(JSON.stringify({ ...manifest, actions, name: 'drill-cold' }));
  await writeFile(path, bytes);
  return bundleIdOf(bytes);
}
