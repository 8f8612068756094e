// The SDK as others install it: packed, installed into an empty folder, and used there.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type E2eStack, startE2e } from './e2e-stack.js';
import { readmeSnippet } from './readme-snippet.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** What npm says where no registry answers, and nothing is in its cache. */
const AWAY = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTCACHED|network/;

let e2e: E2eStack;
let dir: string;
/** Why the package could not be installed here. */
let away = '';
/** Files of the package. */
let files: string[];
beforeAll(async () => {
  e2e = await startE2e();
  dir = mkdtempSync(join(tmpdir(), 'ckv-npm-'));
  run(process.execPath, ['packages/client/scripts/package.mjs'], root);
  const [packed] = JSON.parse(run('npm', ['pack', '--json', join(root, 'packages/client/package')]));
  files = packed.files.map(({ path }: { path: string }) => path);
  writeFileSync(join(dir, 'package.json'), '{"private": true, "type": "module"}');
  try {
    run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(dir, packed.filename)]);
  } catch (error) {
    if (!AWAY.test(String(error))) throw error;
    away = `npm cannot install packages here: ${error}`;
  }
}, 180_000);
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await e2e?.close();
});

/** Runs a program to its end. Returns what it printed. Throws what it printed to stderr if it fails. */
function run(program: string, args: readonly string[], cwd = dir): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

it('has its code, its types, the protos, a licence and a page, and no test', () => {
  for (const path of ['LICENSE', 'README.md', 'dist/index.js', 'types/client/index.d.ts'])
    expect(files).toContain(path);
  expect(files).toContain('dist/proto/collectivekv/v1/ranking.proto');
  expect(files.filter((path) => /test|fixture|\.map$|server/.test(path))).toEqual([]);
  const {
    name,
    private: kept,
    publishConfig,
  } = JSON.parse(readFileSync(join(root, 'packages/client/package/package.json'), 'utf8'));
  expect({ name, kept, publishConfig }).toEqual({
    name: '@collectivekv/client',
    kept: undefined,
    publishConfig: { access: 'public', provenance: true },
  });
});

it('records and ranks from an empty folder', async ({ skip }) => {
  if (away) skip(away);
  writeFileSync(join(dir, 'feed-backend.mjs'), readmeSnippet('feed-backend.mjs', e2e.stack.targets));
  expect(run(process.execPath, ['feed-backend.mjs'])).toMatch(/^i000\d \d+ full\n$/);
  await e2e.untilApplied('u000001', 1);
});

it('can be required by CommonJS, where Node can require ES modules', ({ skip }) => {
  if (away) skip(away);
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19) || (major === 22 && minor < 12)) skip('an older Node');
  const code = "console.log(typeof require('@collectivekv/client').createCollectiveKvClient)";
  expect(run(process.execPath, ['--input-type=commonjs', '--no-warnings', '-e', code])).toBe('function\n');
});

it('has types that a strict compiler takes, those of its libraries included', ({ skip }) => {
  if (away) skip(away);
  writeFileSync(
    join(dir, 'typed.ts'),
    `import { CkvError, type CollectiveKvClient, createCollectiveKvClient, type Interaction, type Ranking, type RankRequest } from '@collectivekv/client';
export const kv: CollectiveKvClient = createCollectiveKvClient({ rankTimeoutMs: 5, useProxy: false });
export async function best(userId: string): Promise<string | undefined> {
  const seen: Interaction = { userId, itemId: 'a' };
  const request: RankRequest = { userId, candidateIds: ['a'], recentInteractions: [seen] };
  const { ranked, info }: Ranking = await kv.rank(request, { timeoutMs: 1 });
  return info.rung === 'full' ? ranked[0]?.itemId : undefined;
}
export const reasonOf = (error: unknown) => (error instanceof CkvError ? error.reason : undefined);
// @ts-expect-error: a misspelt option
createCollectiveKvClient({ target: '' });
`,
  );
  const compiler = createRequire(import.meta.url).resolve('typescript/package.json');
  const tsc = join(dirname(compiler), 'bin', 'tsc');
  const typeRoots = join(root, 'node_modules', '@types');
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'];
  run(process.execPath, [tsc, ...options, '--typeRoots', typeRoots, '--skipLibCheck', 'false', 'typed.ts']);
});
