// Whatever file a command reads or writes, its error names the file, what is wrong with it, and what to do.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it, vi } from 'vitest';

vi.setConfig({ testTimeout: 60_000 }); // each command is a process, which takes seconds on a busy machine

const dir = mkdtempSync(join(tmpdir(), 'ckv-files-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const CKV = fileURLToPath(new URL('../bin/ckv.js', import.meta.url));
const plan = ['plan', '--users', '1', '--positions', '1', '--rate', '1', '--ranks', '1', '--bundle'];

it.each<[string[], RegExp]>([
  [['replay', 'none'], /^none: cannot be read: there is no such file or folder; name a capture/m],
  [['replay', dir], /: cannot be read: it is a folder; name a capture/],
  [['replay', '--key-file', 'none', 'x'], /--key-file: none cannot be read \(ENOENT\); name a file/],
  [['replay', '--trust', 'none', 'x'], /--trust: none cannot be read \(ENOENT\); name a file/],
  [['replay', '--bundle', 'none', 'x'], /none: bundle.json: is missing; name a bundle folder/],
  [['bundle', 'verify', 'none'], /none: bundle.json: is missing; name a bundle folder/],
  [['bundle', 'sign', 'none', '--key', 'none'], /--key: none cannot be read \(ENOENT\); name a file/],
  [[...plan, 'bundles/none'], /bundles\/none: bundle.json: is missing; name a bundle folder/],
])('ckv %j', (args, message) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CKV, ...args], { cwd: dir, encoding: 'utf8' });
  expect(stdout + stderr).toMatch(message);
  expect(stdout + stderr).not.toContain('internal error');
  expect(status).toBe(1);
});
