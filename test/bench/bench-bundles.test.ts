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

/** Creates a Python that prints a text to stderr and fails. */
function failingPython(stderr: string): string {
  const path = join(dir, 'python');
  writeFileSync(path, `#!/bin/sh\necho "${stderr}" >&2\nexit 1\n`);
  chmodSync(path, 0o755);
  return path;
}

it.each([
  [
    'the remedy',
    "ModuleNotFoundError: No module named 'torch'",
    /needs? torch, and .*python does not have it: .*pip install/,
  ],
  ['the error', 'ValueError: no such thing', /bench_bundles\.py .*--slots 3 .*failed:\nValueError: no such thing/],
])('names %s if Python fails', (_, stderr, message) => {
  expect(() => benchBundle('shared', { slots: 3, python: failingPython(stderr) })).toThrow(message);
});

it('names the remedy if there is no Python', () => {
  const python = join(dir, 'nowhere');
  expect(() => benchBundle('shared', { slots: 3, python })).toThrow(/nowhere cannot be run .*--python PATH/);
});
