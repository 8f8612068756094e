// The script that brings a bundle into the pool's volume. A stand-in for kubectl runs what the pod would run.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ROOT, runProgram } from './tools.js';

const SCRIPT = join(ROOT, 'deploy/kubernetes/copy-bundle');
/** Keeps the pod that is applied, and runs a command of the pod here, with a folder in place of the volume. */
const KUBECTL = `#!/usr/bin/env bash
set -eu
case "$*" in
  *" get deployment pool "*) echo registry.example.com/pool:7 ;;
  *" apply "*) cat > "$STAND_IN/pod.yaml" ;;
  *" exec "*)
    while [ "$1" != -- ]; do shift; done
    shift
    args=("$@")
    args[3]="$STAND_IN/volume"
    exec "\${args[@]}" ;;
  *) echo "$*" >> "$STAND_IN/calls" ;;
esac
`;
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-copy-'));
  mkdirSync(join(dir, 'volume'));
  writeFileSync(join(dir, 'kubectl'), KUBECTL, { mode: 0o755 });
});
afterEach(() => rmSync(dir, { recursive: true }));

const copy = (...args: string[]) =>
  runProgram(SCRIPT, args, { env: { ...process.env, STAND_IN: dir, PATH: `${dir}:${process.env.PATH}` } });

it('brings a whole bundle into the volume, by a pod with the image of the pool that is removed again', async () => {
  await copy(join(ROOT, 'bundles/demo'), 'mine');
  expect(readdirSync(join(dir, 'volume')).sort()).toEqual(['.incoming', 'mine']);
  expect(readdirSync(join(dir, 'volume/.incoming'))).toEqual([]);
  expect(readdirSync(join(dir, 'volume/mine')).sort()).toEqual(readdirSync(join(ROOT, 'bundles/demo')).sort());
  expect(readFileSync(join(dir, 'pod.yaml'), 'utf8')).toContain('image: registry.example.com/pool:7\n');
  expect(readFileSync(join(dir, 'calls'), 'utf8')).toMatch(/wait --for=condition=Ready[\s\S]*delete pod bundle-copy/);
});

it('refuses a name that the volume has, and keeps that bundle', async () => {
  cpSync(join(ROOT, 'bundles/demo/bundle.json'), join(dir, 'volume/demo/bundle.json'));
  await expect(copy(join(ROOT, 'bundles/demo'))).rejects.toMatchObject({
    stderr: expect.stringContaining('has a bundle demo'),
  });
  expect(readdirSync(join(dir, 'volume/demo'))).toEqual(['bundle.json']);
});

it.each([
  [[join(ROOT, 'bundles')], /has no bundle\.json/],
  [[join(ROOT, 'bundles/demo'), '../demo'], /\.\.\/demo: use letters/],
])('refuses %j before it makes a pod', async (args, problem) => {
  await expect(copy(...args)).rejects.toMatchObject({ stderr: expect.stringMatching(problem) });
  expect(existsSync(join(dir, 'pod.yaml'))).toBe(false);
});
