import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readCosts } from './read-costs.js';

const dir = mkdtempSync(join(tmpdir(), 'ckv-costs-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const process = { cpuMs: 1, mainThreadMs: 0.5 };
const costs = {
  machine: 'm',
  workload: 'w',
  rank: { ranking: process, recordsRedisMs: 0.1 },
  interaction: { updater: process, 'user-cache': { cpuMs: 1 }, recordsRedisMs: 0.1, queueRedisMs: 0.1 },
  residentBytes: { ranking: 1, updater: 1, 'user-cache': 1, pool: 1 },
  recordUsedBytes: 1,
};

function fileWith(content: string): string {
  const path = join(dir, 'costs.json');
  writeFileSync(path, content);
  return path;
}

it('reads what a calibration printed', () => {
  expect(readCosts(fileWith(JSON.stringify({ costs, figures: {} })))).toEqual(costs);
});

it.each([
  ['no JSON', 'plan', 'cannot be read as JSON'],
  ['no figures', '{}', 'costs'],
  ['a negative figure', JSON.stringify({ costs: { ...costs, recordUsedBytes: -1 } }), 'costs.recordUsedBytes'],
])('refuses a file with %s', (_, content, message) => {
  const invalid = { reason: 'invalid_request', message: expect.stringContaining(message) };
  expect(() => readCosts(fileWith(content))).toThrow(expect.objectContaining(invalid));
});

it('refuses a file that does not exist', () => {
  expect(() => readCosts(join(dir, 'none.json'))).toThrow(
    /^--measured .*none\.json: cannot be read: there is no such file/,
  );
});
