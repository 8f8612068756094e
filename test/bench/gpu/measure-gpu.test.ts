import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TOLERANCE } from './gpu-arms.js';
import { readGpuOptions } from './gpu-options.js';
import type { GpuResults } from './gpu-results.js';
import { measureGpu } from './measure-gpu.js';

const FIXTURE = fileURLToPath(new URL('../../fixtures/gpu', import.meta.url));
const ARMS = [
  ...['full_float32', 'resident_float32', 'gathered_float32'],
  ...['full_float16', 'resident_float16', 'gathered_float16'],
  ...['collapsed', 'clusters'],
];

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-gpu-test-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Makes a dry run on the CPU. Returns the figures of a name and a path, and the printed tables. */
async function dryRun(parts: string, model = FIXTURE) {
  const out = join(dir, 'out');
  const options = readGpuOptions(['--provider', 'cpu', '--quick', '--only', parts, '--model', model, '--out', out]);
  if (!options) throw new Error('there are no options');
  const tables = await measureGpu(options, { dir, progress: () => undefined });
  const { runs }: GpuResults = JSON.parse(readFileSync(join(out, 'gpu.json'), 'utf8'));
  const figures = (name: string) => (runs[0]?.rows ?? []).filter((row) => row.name === name);
  expect(readFileSync(join(out, 'gpu.md'), 'utf8')).toBe(`${tables}\n`);
  return { figures, tables };
}

it('times every arm on every batch, and all score as the CPU does, user by user', async () => {
  const { figures, tables } = await dryRun('arms');
  const shapes = ['1 x 20 x 1', '1 x 20 x 5', '3 x 20 x 1', '3 x 20 x 5'];
  const measured = figures('batch_p50').map(({ params }) => {
    return `${params.arm}: ${params.users} x ${params.positions} x ${params.candidates}`;
  });
  expect(measured.sort()).toEqual(ARMS.flatMap((arm) => shapes.map((shape) => `${arm}: ${shape}`)).sort());
  for (const { params, value } of figures('difference')) {
    expect(value).toBeLessThanOrEqual(String(params.arm).endsWith('16') ? TOLERANCE.float16 : TOLERANCE.float32);
  }
  expect(tables).toContain(`| users x positions x candidates | ${ARMS.join(' | ')} |`);
});

it('ends if an arm scores otherwise', async () => {
  const model = join(dir, 'model');
  cpSync(FIXTURE, model, { recursive: true });
  const arrays = readFileSync(join(model, 'arrays.bin'));
  const about = JSON.parse(readFileSync(join(model, 'about.json'), 'utf8'));
  arrays.writeFloatLE(9, about.arrays.pool_value.offset); // of the rows that the full arms are given
  writeFileSync(join(model, 'arrays.bin'), arrays);
  await expect(dryRun('arms', model)).rejects.toThrow(/full_float32 3 20 5: scores differ by .*, the limit is 0\.0001/);
});

it('goes on without a batch that an arm cannot run, and says so', async () => {
  const model = join(dir, 'model');
  cpSync(FIXTURE, model, { recursive: true });
  const graphOf = (shape: string) => join(model, 'arms', `resident_float32_${shape}.onnx`);
  cpSync(graphOf('3x20'), graphOf('1x20')); // keys of three users do not fit the candidates of one
  const { figures, tables } = await dryRun('arms', model);
  const users = figures('batch_p50')
    .filter(({ params }) => params.arm === 'resident_float32')
    .map(({ params }) => params.users);
  expect(users).toEqual([3, 3]);
  expect(tables).toMatch(/resident_float32 1 20 5 does not run: /);
});

it('times HSTU and the demo, and compares them with the CPU and with golden vectors', async () => {
  const { figures } = await dryRun('hstu,demo');
  expect(figures('batch_p50').map(({ params }) => params.arm)).toEqual(['demo', 'hstu_gathered', 'hstu_full_float32']);
  expect(figures('golden_difference')).toMatchObject([{ params: { precision: 'float32' } }]);
  for (const { value } of [...figures('golden_difference'), ...figures('difference')]) expect(value).toBeLessThan(1e-4);
});

it('times RankMany through real services, with pool rows in the graph or from the pool service', async () => {
  const { figures } = await dryRun('rank-many');
  const arms = ['pool, replica', 'pool, remote', 'clusters, replica'];
  expect(figures('batch_p50').map(({ params }) => params.arm)).toEqual(arms);
  expect(figures('difference')).toHaveLength(arms.length);
});
