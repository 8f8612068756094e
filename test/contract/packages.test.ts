// The checks of outside packages bite: a licence, a missing digest and a known weakness fail them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { root } from './workspaces.js';

let dir: string;
let registry: Server | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-packages-'));
  mkdirSync(join(dir, 'scripts'));
  const checks = ['check-packages.mjs', 'licence-expression.mjs', 'audit.mjs', 'sbom.mjs'];
  const scripts = ['packages.mjs', 'packages.json', 'workspace.mjs', ...checks];
  for (const file of scripts) cpSync(join(root, 'scripts', file), join(dir, 'scripts', file));
  mkdirSync(join(dir, 'site'));
  for (const file of ['package.json', 'package-lock.json', 'site/package.json', 'site/package-lock.json'])
    cpSync(join(root, file), join(dir, file));
});
afterEach(() => {
  registry?.close();
  registry = undefined;
  rmSync(dir, { recursive: true, force: true });
});

type Json = Record<string, unknown>;

/** Changes a JSON file of the copy. */
function change<T extends Json>(file: string, edit: (content: T) => void): void {
  const content = JSON.parse(readFileSync(join(dir, file), 'utf8')) as T;
  edit(content);
  writeFileSync(join(dir, file), JSON.stringify(content));
}

/** The part of package-lock.json that tests change. */
interface Lock extends Json {
  readonly packages: Record<string, { license?: string; integrity?: string }>;
}

const entryOf = (lock: Lock, name: string) => lock.packages[`node_modules/${name}`] ?? {};

/** Runs a script of the copy. Returns its exit code and its output. */
async function run(
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; text: string }> {
  const child = spawn(process.execPath, [join(dir, 'scripts', script)], { cwd: dir, env: { ...process.env, ...env } });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  const [code] = await once(child, 'close');
  return { code: Number(code), text };
}

describe('the check of licences and digests', () => {
  it('passes the packages of this repository', async () => {
    expect(await run('check-packages.mjs')).toMatchObject({ code: 0, text: expect.stringContaining(' 0 problem(s)') });
  });

  it.each([
    ['a licence that is not allowed', 'ioredis', { license: 'GPL-3.0-only' }, 'its licence is GPL-3.0-only'],
    ['no licence', 'bullmq', { license: undefined }, 'its licence is not given'],
    ['a licence that another joins', 'pino', { license: '(MIT AND GPL-2.0)' }, 'its licence is (MIT AND GPL-2.0)'],
    [
      'a choice beside another',
      'pino',
      { license: '(MIT OR GPL-2.0) AND GPL-2.0' },
      'its licence is (MIT OR GPL-2.0) AND',
    ],
    ['no digest', 'zod', { integrity: undefined }, 'node_modules/zod: has no sha512 digest'],
    ['a weak digest', 'zod', { integrity: 'sha1-abc' }, 'node_modules/zod: has no sha512 digest'],
  ])('fails for %s', async (_, name, edit, message) => {
    change<Lock>('package-lock.json', (lock) => Object.assign(entryOf(lock, name), edit));
    expect(await run('check-packages.mjs')).toMatchObject({ code: 1, text: expect.stringContaining(message) });
  });

  it("fails for a weak digest in the site's lock file", async () => {
    change<Lock>('site/package-lock.json', (lock) =>
      Object.assign(entryOf(lock, 'vitepress'), { integrity: 'sha1-a' }),
    );
    const text = expect.stringContaining('site/node_modules/vitepress: has no sha512 digest');
    expect(await run('check-packages.mjs')).toMatchObject({ code: 1, text });
  });

  it('passes a choice of licences, a package with an exception, and packages of tests alone', async () => {
    change<Lock>('package-lock.json', (lock) => {
      entryOf(lock, 'ioredis').license = '(GPL-3.0-only OR MIT)';
      entryOf(lock, 'bullmq').license = 'Other';
      entryOf(lock, 'vitest').license = 'Other';
    });
    change('scripts/packages.json', (policy) => {
      policy.licenceExceptions = { bullmq: 'a reason' };
    });
    expect((await run('check-packages.mjs')).code).toBe(0);
  });
});

describe('the look for known weaknesses', () => {
  const advisory = {
    id: 1,
    url: 'https://github.com/advisories/GHSA-aaaa-bbbb-cccc',
    title: 'a hole',
    severity: 'high',
  };

  /** Starts a registry that knows of a weakness of a package, or does not know such questions. */
  async function start(answers: boolean, weak = 'ioredis'): Promise<Record<string, string>> {
    registry = createServer((request, response) => {
      if (!answers) response.statusCode = 405;
      const path = request.url ?? '';
      const isQuestion = path.endsWith('/advisories/bulk');
      const found = isQuestion
        ? { [weak]: [{ ...advisory, vulnerable_versions: '<999' }] }
        : { name: path.slice(1), versions: {} };
      request.resume().on('end', () => response.end(JSON.stringify(answers ? found : {})));
    }).listen(0, '127.0.0.1');
    await once(registry, 'listening');
    return { npm_config_registry: `http://127.0.0.1:${(registry.address() as AddressInfo).port}` };
  }

  it('fails for a weakness, and names it', async () => {
    const outcome = await run('audit.mjs', await start(true));
    expect(outcome).toMatchObject({
      code: 1,
      text: expect.stringMatching(/ioredis <999: high, a hole \(GHSA-aaaa-bbbb-cccc\)/),
    });
  });

  it('fails for a weakness of what the site is built with', async () => {
    const text = expect.stringContaining('vitepress <999: high, a hole');
    expect(await run('audit.mjs', await start(true, 'vitepress'))).toMatchObject({ code: 1, text });
  });

  it('passes a weakness with an exception', async () => {
    change('scripts/packages.json', (policy) => {
      policy.advisoryExceptions = { 'GHSA-aaaa-bbbb-cccc': 'a reason' };
    });
    expect(await run('audit.mjs', await start(true))).toMatchObject({
      code: 0,
      text: expect.stringContaining('1 known'),
    });
  });

  it('does not fail where nobody answers, and says so loudly', async () => {
    const outcome = await run('audit.mjs', await start(false));
    expect(outcome).toMatchObject({ code: 0, text: expect.stringMatching(/^NOT CHECKED FOR KNOWN WEAKNESSES/m) });
  });
});
