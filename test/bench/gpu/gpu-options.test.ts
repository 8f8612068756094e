import { expect, it } from 'vitest';
import { GPU_USAGE, readGpuOptions } from './gpu-options.js';

it('measures 1 to 512 users, and the shape of the published HSTU profile', () => {
  const options = readGpuOptions([]);
  expect(options?.shapes).toHaveLength(16);
  expect(options?.shapes).toContainEqual({ users: 512, positions: 1_000, candidates: 1 });
  expect(options?.hstu).toEqual({ users: 32, positions: 1_024, candidates: 2_048 });
  expect(options).toMatchObject({ provider: 'cuda', precision: 'float32', parts: expect.arrayContaining(['torch']) });
});

it('takes some of the parts, users and positions', () => {
  const options = readGpuOptions(['--only', 'torch,demo', '--users', '2,3', '--positions', '7', '--quick']);
  expect(options?.parts).toEqual(['demo', 'torch']);
  expect(options?.shapes.map(({ users, positions }) => `${users} ${positions}`)).toEqual(['2 7', '2 7', '3 7', '3 7']);
});

it.each([
  [['--provider', 'rocm'], /--provider: "rocm" is unknown; give one of cpu, cuda, webgpu/],
  [['--users', '1,0'], /--users: "0" is not a whole number from 1 to 100000/],
  [['--only', 'all'], /--only: "all" is unknown; give one of demo, arms/],
])('refuses %j', (args, message) => {
  expect(() => readGpuOptions(args)).toThrow(message);
});

it('has nothing to measure for --help, whose text names every option', () => {
  expect(readGpuOptions(['--help'])).toBeUndefined();
  expect(GPU_USAGE).toContain('--precision');
});
