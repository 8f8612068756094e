import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { median } from './arms.js';
import { type Row, reaches, writeReport } from './report.js';

const row = (value: number, target: string): Row => ({ name: 'n', params: 'p', value, unit: '', target });

it.each([
  [1.2, '<= 1.35', true],
  [1.4, '<= 1.35', false],
  [0.8, '>= 0.70', true],
  [0.6, '>= 0.70', false],
  [Number.NaN, '<= 1', false],
  [5, '', undefined],
])('%f reaches "%s": %s', (value, target, met) => {
  expect(reaches(row(value, target))).toBe(met);
});

it('writes what was missed as missed, between the marks and nowhere else', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ckv-report-'));
  const paths = { results: join(dir, 'latest.json'), page: join(dir, 'page.md') };
  writeFileSync(paths.page, 'before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n');
  writeReport([row(2, '<= 1'), row(12_345.6, '')], paths);
  const page = readFileSync(paths.page, 'utf8');
  expect(page).toMatch(
    /^before\n<!-- bench:begin -->\n[\s\S]*\| n \| p \| 2\.00 \| <= 1 \| \*\*no\*\* \|\n\| n \| p \| 12,346 \|/,
  );
  expect(page).toMatch(/<!-- bench:end -->\nafter\n$/);
  expect(page).not.toContain('old');
  expect(JSON.parse(readFileSync(paths.results, 'utf8')).rows).toHaveLength(2);
  rmSync(dir, { recursive: true });
});

it('takes the middle value', () => {
  expect(median([9, 1, 5])).toBe(5);
});
