import { chmod, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { fetchPackages } from './fetch-packages.js';

let dir: string;
let tools: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-packages-'));
  tools = join(dir, 'tools');
  await mkdir(tools);
  vi.stubEnv('PATH', [tools, process.env.PATH].join(delimiter));
  await command('apt-get', 'touch a.deb b.deb');
  await command('dpkg', UNPACK);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(dir, { recursive: true });
});

/** Called as `dpkg -x PACKAGE ROOT`: the root gets a file of the package's name. */
const UNPACK = 'mkdir -p "$3" && cp "$2" "$3"';

/** Puts a command on the PATH in place of the system's. */
async function command(name: string, script: string): Promise<void> {
  await writeFile(join(tools, name), `#!/bin/sh\nset -e\n${script}\n`);
  await chmod(join(tools, name), 0o755);
}

const fetchInto = (name: string) => fetchPackages({ dir: join(dir, name), packages: ['a'], dependencies: false });

it('leaves nothing half-made if it ends while it unpacks, and the next fetch is complete', async () => {
  await command('dpkg', `case "$2" in *b.deb) exit 1;; esac; ${UNPACK}`);
  await expect(fetchInto('fetched')).rejects.toThrow('b.deb');
  expect(await readdir(join(dir, 'fetched'))).toEqual([]);
  await command('dpkg', UNPACK);
  expect(await readdir(await fetchInto('fetched'))).toEqual(['a.deb', 'b.deb']);
});

it('replaces a folder that was half-made before, and removes what a killed fetch left', async () => {
  const left = join(dir, 'fetched', '.partial.killed');
  for (const folder of [left, join(dir, 'fetched', 'root')]) {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'half'), '');
  }
  await utimes(left, 0, 0);
  expect(await readdir(await fetchInto('fetched'))).toEqual(['a.deb', 'b.deb']);
  expect(await readdir(join(dir, 'fetched'))).toEqual(['root']);
});

it('fetches twice at once: a second fetch that begins while the first unpacks does it no harm', async () => {
  const until = (file: string) => `until [ -e ${dir}/${file} ]; do sleep 0.01; done`;
  const second = `touch ${dir}/second; ${until('unpacked')}`;
  await command('apt-get', `mkdir ${dir}/first 2> ${dir}/errors || { ${second}; }; touch a.deb b.deb`);
  await command('dpkg', `trap 'touch ${dir}/unpacked' EXIT; ${until('second')}; ${UNPACK}`);
  const roots = await Promise.all([fetchInto('fetched'), fetchInto('fetched')]);
  for (const root of roots) expect(await readdir(root)).toEqual(['a.deb', 'b.deb']);
  expect(await readdir(join(dir, 'fetched'))).toEqual(['root']);
});
