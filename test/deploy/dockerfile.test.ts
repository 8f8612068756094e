import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, runProgram, toolOf } from './tools.js';

const DOCKER = join(ROOT, 'deploy/docker');
const dockerfile = readFileSync(join(DOCKER, 'Dockerfile'), 'utf8');
const hadolint = toolOf('hadolint');

describe('the Dockerfile', () => {
  it('pins every base image by digest', () => {
    const args = [...dockerfile.matchAll(/^ARG (\w+)=\S+@sha256:[0-9a-f]{64}$/gm)].map(([, name]) => `\${${name}}`);
    const stages = [...dockerfile.matchAll(/^FROM \S+ AS (\S+)$/gm)].map(([, name]) => name);
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    expect(args.length).toBeGreaterThan(0);
    expect(bases.filter((base) => !args.includes(base ?? '') && !stages.includes(base))).toEqual([]);
  });

  it('gets the newest digests from pin-base, and so does Redis', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'ckv-pin-'));
    const pinned = ['docker/Dockerfile', 'kubernetes/components/redis-evaluation/redis.yaml'];
    try {
      for (const file of ['docker/pin-base', ...pinned]) cpSync(join(ROOT, 'deploy', file), join(dir, file));
      const digest = `sha256:${'0'.repeat(64)}`;
      writeFileSync(join(dir, 'docker/docker'), `#!/bin/sh\necho ${digest}\n`, { mode: 0o755 });
      const env = { ...process.env, PATH: `${join(dir, 'docker')}:${process.env.PATH}` };
      const { stdout } = await runProgram(join(dir, 'docker/pin-base'), { env });
      expect(stdout.match(/^\w+(?=:)/gm)).toEqual(['node', 'python', 'redis']);
      const found = pinned.flatMap((file) => readFileSync(join(dir, file), 'utf8').match(/sha256:[0-9a-f]{64}/g) ?? []);
      expect(found).toEqual([digest, digest, digest, digest]);
      expect(readdirSync(dir, { recursive: true }).filter((name) => String(name).endsWith('.before'))).toEqual([]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('runs services as a user without rights, by its number, which the manifests have', () => {
    expect(dockerfile.match(/^USER .*$/gm)).toEqual(['USER 10001:10001']);
    const manifest = readFileSync(join(ROOT, 'deploy/kubernetes/every-service/every-service.yaml'), 'utf8');
    expect(manifest).toMatch(/runAsUser: 10001\n/);
  });

  it('has the CUDA of the onnxruntime that is installed', () => {
    const engine = JSON.parse(readFileSync(join(ROOT, 'packages/engine/package.json'), 'utf8'));
    const requirements = readFileSync(join(DOCKER, 'cuda-requirements.txt'), 'utf8');
    expect(requirements).toContain(`\nonnxruntime-gpu==${engine.dependencies['onnxruntime-node']} `);
  });

  it.runIf(hadolint)('has no problem that hadolint finds', async () => {
    const lint = (...args: string[]) => runProgram(hadolint ?? '', ['--no-color', ...args]).catch((error) => error);
    const { stdout } = await lint(join(DOCKER, 'Dockerfile'), join(DOCKER, 'bundles.Dockerfile'));
    expect(stdout).toBe('');
  });
});
