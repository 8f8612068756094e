// The script that runs `ckv` in the cluster. A stand-in for kubectl runs what the pod would run.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ROOT, runProgram } from './tools.js';

/** Knows the phase of the pod and the Deployment of the updater, keeps the pod that is applied, and runs its commands. */
const KUBECTL = `#!/usr/bin/env bash
set -eu
case "$*" in
  *" get pod ckv "*) printf %s "$PHASE" ;;
  *" get deployment updater "*.image}) printf %s "$IMAGE" ;;
  *" get deployment updater "*configMapRef.name}) printf %s settings-5hb6 ;;
  *" get deployment updater "*secretName}) printf %s redis-9k2c ;;
  *" apply "*) cat > "$STAND_IN/pod.yaml" ;;
  *" exec "*) while [ "$1" != -- ]; do shift; done; shift; exec "$@" ;;
  *) echo "$*" >> "$STAND_IN/calls" ;;
esac
`;
const NODE = `#!/usr/bin/env bash
printf '%s|' "$@" "\${CKV_TOKEN_FILE-none}" "\${CKV_TLS_CLIENT_KEY_FILE-none}"
`;
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-pod-'));
  writeFileSync(join(dir, 'kubectl'), KUBECTL, { mode: 0o755 });
  writeFileSync(join(dir, 'node'), NODE, { mode: 0o755 });
});
afterEach(() => rmSync(dir, { recursive: true }));

async function ckv(phase: string, ...words: string[]): Promise<string> {
  const env = {
    ...process.env,
    STAND_IN: dir,
    PATH: `${dir}:${process.env.PATH}`,
    PHASE: phase,
    IMAGE: 'registry.example.com/updaters/updater:0.1.0',
    CKV_TOKEN_FILE: join(dir, 'kubectl'), // a file that is there
    CKV_TLS_CLIENT_CERT_FILE: join(dir, 'absent'),
    CKV_TLS_CLIENT_KEY_FILE: join(dir, 'absent'),
    CKV_REDIS_TLS_CA_FILE: join(dir, 'absent'),
  };
  return (await runProgram(join(ROOT, 'deploy/kubernetes/ckv'), words, { env })).stdout;
}
const calls = () => readFileSync(join(dir, 'calls'), 'utf8');

it("starts a pod with the updater's registry, tag, settings and Redis, and runs ckv there", async () => {
  const answer = await ckv('', 'bundle', 'activate', 'a b');
  expect(answer).toBe(`/app/packages/cli/bin/ckv.js|bundle|activate|a b|${join(dir, 'kubectl')}|none|`);
  const { spec } = parse(readFileSync(join(dir, 'pod.yaml'), 'utf8'));
  expect(spec.containers[0]).toMatchObject({
    image: 'registry.example.com/updaters/cli:0.1.0',
    envFrom: [{ configMapRef: { name: 'settings-5hb6' } }],
  });
  expect(spec.volumes).toContainEqual(
    expect.objectContaining({ name: 'redis', secret: expect.objectContaining({ secretName: 'redis-9k2c' }) }),
  );
  expect(calls()).toMatch(/wait --for=condition=Ready/);
});

it('uses the pod that runs', async () => {
  expect(await ckv('Running', 'queue', 'status')).toContain('|queue|status|');
  expect(existsSync(join(dir, 'pod.yaml'))).toBe(false);
});

it('starts another pod in place of one that ended', async () => {
  await ckv('Failed', 'queue', 'status');
  expect(calls()).toMatch(/delete pod ckv/);
  expect(existsSync(join(dir, 'pod.yaml'))).toBe(true);
});
