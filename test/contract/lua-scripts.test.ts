// A Lua script is a documented function. Its file name ends with its number of keys, and its header lists keys,
// arguments and results.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readWorkspaces, root } from './workspaces.js';

const scripts = readWorkspaces()
  .map(({ folder }) => `${folder}/lua`)
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`))
  .filter((file) => file.endsWith('.lua'));

it('finds the scripts of both packages', () => {
  expect(new Set(scripts.map((file) => file.split('/')[1]))).toEqual(new Set(['update-queue', 'user-store']));
});

describe.each(scripts)('%s', (file) => {
  const source = readFileSync(join(root, file), 'utf8');
  const [, header = '', body = ''] = /^--\[\[\n([\s\S]*?)\n\]\]\n([\s\S]*)$/.exec(source) ?? [];
  const [, keyCount = ''] = /-(\w*\d\w*)\.lua$/.exec(file) ?? [];

  it('begins with a header: a sentence, KEYS and what the script returns', () => {
    expect(header).toMatch(/^[A-Z]/);
    expect(header).toMatch(/\n\nKEYS\[/);
    expect(header).toMatch(/\n\nReturns /);
  });

  it('documents as many keys as its name counts, in all or of each of n items', () => {
    const rows = header.match(/^KEYS\[/gm) ?? [];
    const documented = keyCount.endsWith('n') ? `${rows.length}n` : numbersOf('KEYS', header).join(' ');
    const wanted = keyCount.endsWith('n')
      ? keyCount
      : Array.from({ length: Number(keyCount) }, (_, i) => i + 1).join(' ');
    expect(keyCount).toMatch(/^\d+n?$/);
    expect(documented).toBe(wanted);
  });

  it('uses no key or argument that its header does not document', () => {
    for (const name of ['KEYS', 'ARGV']) {
      const documented = numbersOf(name, header);
      const used = [...body.matchAll(new RegExp(`${name}\\[(\\d+)\\]`, 'g'))].map(([, index]) => Number(index));
      expect(used.filter((index) => !documented.includes(index))).toEqual([]);
    }
  });
});

/** Returns the indices that a header documents, in order: `[3]`, `[1..9]` or `[3..]`. An open range counts once. */
function numbersOf(name: string, header: string): number[] {
  const rows = [...header.matchAll(new RegExp(`^${name}\\[(\\d+)(\\.\\.(\\d*))?\\]  `, 'gm'))];
  return rows.flatMap(([, first, , last]) => {
    const length = Number(last || first) - Number(first) + 1;
    return Array.from({ length }, (_, i) => Number(first) + i);
  });
}
