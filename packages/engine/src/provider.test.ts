import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEngine } from './engine.js';
import type { EngineOptions } from './engine-options.js';
import { deviceName, probeDevice, requireProvider, setPrecision } from './provider.js';

const optionsOf = (options: Partial<EngineOptions>): EngineOptions => ({
  provider: 'cpu',
  workerCount: 1,
  threadsPerWorker: 1,
  queueLimit: 4,
  ...options,
});

describe('requireProvider', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'ckv-provider-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it.runIf(process.platform === 'linux')(
    'names the missing files of CUDA, their folder and where they are',
    async () => {
      const check = () => requireProvider(optionsOf({ provider: 'cuda' }), dir);
      expect(check).toThrow(
        `lacks libonnxruntime_providers_cuda.so and libonnxruntime_providers_shared.so in ${dir}; copy`,
      );
      expect(check).toThrow(
        /of the PyPI wheel onnxruntime-gpu \d+\.\d+\.\d+ into .*onnxruntime-node.*CUDA 13.*CKV_PROVIDER=cpu/,
      );
      await writeFile(join(dir, 'libonnxruntime_providers_cuda.so'), '');
      expect(check).toThrow(`provider cuda lacks libonnxruntime_providers_shared.so in ${dir}; copy`);
      await writeFile(join(dir, 'libonnxruntime_providers_shared.so'), '');
      expect(check).not.toThrow();
    },
  );

  it.each([
    ['CKV_DEVICE_INDEX', { provider: 'webgpu', deviceIndex: 1 }, 'is 1, but provider webgpu takes no index'],
    ['CKV_DEVICE_INDEX', { deviceIndex: 2 }, 'is 2, but provider cpu takes no index'],
    ['CKV_PRECISION', { precision: 'tf32' }, 'is tf32, but provider cpu has float32 only'],
    ['CKV_WORKERS', { provider: 'cuda', workerCount: 2 }, 'is 2, but a device has one worker for each bundle'],
  ] as const)('refuses %s of %j', (field, options, problem) => {
    expect(() => requireProvider(optionsOf(options))).toThrow(`${field}: ${problem}`);
  });
});

describe('a device', () => {
  it('has a name', () => {
    expect(deviceName({ provider: 'cuda', deviceIndex: 3 })).toBe('cuda:3');
    expect(deviceName({ provider: 'cuda' })).toBe('cuda:0');
    expect(deviceName({ provider: 'webgpu' })).toBe('webgpu');
    expect(deviceName({ provider: 'cpu' })).toBe('cpu');
  });

  it('is tried with a small graph', async () => {
    await expect(probeDevice(optionsOf({}))).resolves.toBeUndefined();
  });

  it.skipIf(existsSync('/dev/nvidia0'))('that does not start is refused before a graph is loaded', async () => {
    await expect(probeDevice(optionsOf({ provider: 'cuda' }))).rejects.toMatchObject({
      reason: 'provider_missing',
      message: expect.stringMatching(/^provider cuda does not start: .*; copy libonnxruntime_providers_cuda\.so/s),
    });
  });

  it.skipIf(existsSync('/dev/nvidia0') || existsSync('/dev/dri'))('without Vulkan is refused', async () => {
    await expect(createEngine(optionsOf({ provider: 'webgpu' }))).rejects.toMatchObject({
      reason: 'provider_missing',
      message: expect.stringMatching(/^provider webgpu does not start: .*; install libvulkan1/s),
    });
  });
});

it('forbids TF32 to the libraries of NVIDIA, unless it is asked for', () => {
  const before = process.env.NVIDIA_TF32_OVERRIDE;
  try {
    setPrecision({});
    expect(process.env.NVIDIA_TF32_OVERRIDE).toBe('0');
    setPrecision({ precision: 'tf32' });
    expect(process.env.NVIDIA_TF32_OVERRIDE).toBeUndefined();
  } finally {
    if (before !== undefined) process.env.NVIDIA_TF32_OVERRIDE = before;
  }
});
