// The program of docs/clients-other-languages.md, where Go, its two generators and its modules are at hand.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type E2eStack, startE2e } from './e2e-stack.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/clients-other-languages.md'), 'utf8');

/** True if a command ends well. */
const works = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
const hasGo =
  works('go', 'version') &&
  works('protoc-gen-go', '--version') &&
  works('protoc-gen-go-grpc', '--version') &&
  works('go', 'list', '-m', 'google.golang.org/grpc@latest');

describe.skipIf(!hasGo)('a client in Go', () => {
  let dir: string;
  let e2e: E2eStack;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'ckv-go-'));
    e2e = await startE2e();
  });
  afterAll(async () => {
    rmSync(dir, { recursive: true, force: true });
    await e2e?.close();
  });

  /** Returns a file of the page. */
  function snippet(name: string): string {
    const text = page.split(`<!-- snippet: ${name} -->`)[1]?.match(/```\w+\n([\s\S]*?)```/)?.[1];
    if (text === undefined) throw new Error(`the page has no snippet ${name}`);
    return text;
  }

  /** Runs a command, and returns its output. */
  function run(command: string, args: readonly string[], cwd = dir): string {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
    return stdout;
  }

  it('records and ranks', async () => {
    writeFileSync(join(dir, 'buf.gen.yaml'), snippet('buf.gen.go.yaml').replaceAll('out: feed', `out: ${dir}`));
    run(join(root, 'node_modules/.bin/buf'), ['generate', '--template', join(dir, 'buf.gen.yaml')], root);
    const { ranking, updater } = e2e.stack.targets;
    const program = snippet('main.go').replace('127.0.0.1:50053', ranking).replace('127.0.0.1:50054', updater);
    writeFileSync(join(dir, 'main.go'), program);
    run('go', ['mod', 'init', 'example.com/feed']);
    run('go', ['mod', 'tidy']);
    expect(run('go', ['run', '.'])).toMatch(/^(i000\d -?\d+\.\d{4}\n){3}\d+ DEGRADATION_RUNG_FULL\n$/);
    await e2e.untilApplied('u000001', 1);
  });
});
