import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { benchBundle } from './bench-bundles.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-python-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A Python that says its last words and fails. */
function failingPython(lastWords: string): string {
  const path = join(dir, 'python');
  writeFileSync(path, `#!/bin/sh\necho "${lastWords}" >&2\nexit 1\n`);
  chmodSync(path, 0o755);
  return path;
}

it.each([
  ['PyTorch', "ModuleNotFoundError: No module named 'torch'", /need torch, which .*python has not: .*pip install/],
  ['anything else', 'ValueError: no such thing', /bench_bundles\.py .*--slots 3 .*failed:\nValueError: no such thing/],
])('says what to do without %s', (_, lastWords, message) => {
  expect(() => benchBundle('shared', { slots: 3, python: failingPython(lastWords) })).toThrow(message);
});

it('says what to do without Python', () => {
  const python = join(dir, 'nowhere');
  expect(() => benchBundle('shared', { slots: 3, python })).toThrow(/nowhere does not run .*--python PATH/);
});
