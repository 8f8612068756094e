import { readFileSync } from 'node:fs';
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
