// The scripts of the root install what they need, or say in one line why they cannot.
import { execFileSync, spawn } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

vi.setConfig({ testTimeout: 180_000 }); // npm, on a busy machine

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Scripts of the repository: files that are tracked, so no packages that somebody installed beside them. */
const SCRIPTS = execFileSync('git', ['ls-files', '-z', 'scripts'], { cwd: ROOT, encoding: 'utf8' })
  .split('\0')
  .filter(Boolean);
/** A user who owns nothing. Root may write everywhere. */
const STRANGER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ckv-installation-'));
  for (const path of SCRIPTS) await cp(join(ROOT, path), join(root, path));
  // A workspace whose only development tool is a package of its own folder, so that npm needs no registry.
  await write('package.json', { private: true, type: 'module', devDependencies: { turbo: 'file:tool' } });
  await write('tool/package.json', { name: 'turbo', version: '1.0.0', bin: 'turbo.mjs' });
  await write('tool/turbo.mjs', '#!/usr/bin/env node\nconsole.log("built");\n');
  await write('package-lock.json', {
    lockfileVersion: 3,
    packages: {
      '': { devDependencies: { turbo: 'file:tool' } },
      'node_modules/turbo': { resolved: 'tool', link: true },
      tool: { name: 'turbo', version: '1.0.0', dev: true, bin: { turbo: 'turbo.mjs' } },
    },
  });
  await write('install.mjs', "import { ensureInstalled } from './scripts/workspace.mjs';\nawait ensureInstalled();\n");
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function write(path: string, content: object | string): Promise<void> {
  await mkdir(join(root, path, '..'), { recursive: true });
  await writeFile(join(root, path), typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o755 });
}

interface Ended {
  readonly exitCode: number | null;
  readonly output: string;
}

function node(
  args: string[],
  { env = {}, user = {} }: { env?: NodeJS.ProcessEnv; user?: object } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...env }, ...user });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, output }));
  });
}

const buildTool = ['scripts/tool.mjs', 'turbo', 'run', 'build'];

it.each([{ NODE_ENV: 'production' }, { npm_config_omit: 'dev' }])(
  'installs the development tools, with %o too',
  async (env) => {
    expect(await node(['install.mjs'], { env })).toMatchObject({ exitCode: 0 });
    expect(await node(buildTool)).toEqual({ exitCode: 0, output: 'built\n' });
  },
);

it('installs the development tools where an installation without them exists', async () => {
  await write('node_modules/.package-lock.json', { lockfileVersion: 3, packages: {} });
  expect(await node(['install.mjs'])).toMatchObject({ exitCode: 0 });
  expect(await node(buildTool)).toEqual({ exitCode: 0, output: 'built\n' });
});

it('names the command that installs a missing tool', async () => {
  const output = 'turbo is not installed. Run: npm ci --include=dev\n';
  expect(await node(buildTool)).toEqual({ exitCode: 1, output });
});

it.each(['.', 'packages/domain', '.turbo'])('says in one line that %s cannot be written', async (folder) => {
  await chmod(root, 0o777);
  await mkdir(join(root, folder), { recursive: true });
  await chmod(join(root, folder), 0o555);
  const ended = await node(['install.mjs'], { user: STRANGER });
  expect(ended.exitCode).toBe(1);
  expect(ended.output.trimEnd()).toMatch(/^\/.* cannot be written \(EACCES\)\. .*copy the checkout.*$/);
  expect(ended.output).toContain(join(root, folder));
});
