import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lineChart } from './line-chart.js';
import type { Mode } from './options.js';
import { openReport, type ReportPaths } from './report.js';
import { type Results, type Row, type Run, reaches } from './results.js';

const row = (name: string, params: Row['params'], value: number, target = ''): Row => ({
  name,
  params,
  value,
  unit: '',
  target,
});
const run = (mode: Mode): Run => ({
  mode,
  finished: '2026-01-02T03:04:05.000Z',
  minutes: 1,
  rounds: 2,
  node: 'v20',
  cores: 2,
  cpu: 'a processor',
  leftOut: [],
  bundles: [
    { name: 'factored', id: 'f00d', trainedOn: 'a log' },
    { name: 'full_fp16', id: 'f16f', trainedOn: 'a log' },
    { name: 'pool', id: 'b0b0', trainedOn: 'a log' },
    { name: 'shared', id: 'aaaa' },
  ],
});

let dir: string;
let paths: ReportPaths;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-report-'));
  paths = { results: join(dir, 'results', 'latest.json'), page: join(dir, 'page.md'), plots: join(dir, 'plots') };
  writeFileSync(paths.page, 'before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n');
});
afterEach(() => rmSync(dir, { recursive: true }));
const page = () => readFileSync(paths.page, 'utf8');
const results = () => JSON.parse(readFileSync(paths.results, 'utf8')) as Results;

it.each([
  [1.2, '<= 1.35', true],
  [1.4, '<= 1.35', false],
  [0.8, '>= 0.70', true],
  [0.6, '>= 0.70', false],
  [Number.NaN, '<= 1', false],
  [5, '', undefined],
])('%f reaches "%s": %s', (value, target, met) => {
  expect(reaches({ value, target })).toBe(met);
});

it('marks a missed target, and writes between the marks only', () => {
  openReport(paths).write(run('full'), [row('n', { p: 1 }, 2, '<= 1'), row('m', { q: 'x', r: 3 }, 12_345.6)]);
  expect(page()).toMatch(/^before\n<!-- bench:begin -->\n[\s\S]*\n<!-- bench:end -->\nafter\n$/);
  expect(page()).toContain('| n | p 1 | 2 | <= 1 | **no** |');
  expect(page()).toContain('| m | q x, r 3 | 12,346 |');
  expect(page()).not.toContain('old');
  expect(results().rows).toHaveLength(2);
});

it('names the parts and baselines that were left out', () => {
  openReport(paths).write({ ...run('quick'), leftOut: ['load', 'recompute'] }, [row('n', {}, 1)]);
  expect(page()).toContain(
    '- A quick run on 2026-01-02: 1.0 minutes, 2 rounds of each figure, without load, recompute. All processes ran on',
  );
});

it('tells that other programs used the machine', () => {
  const first = () =>
    page()
      .split('\n')
      .find((line) => line.startsWith('- A full run'));
  openReport(paths).write({ ...run('full'), loadBefore: 0.4 }, [row('n', {}, 1)]);
  expect(first()).not.toContain('load average');
  openReport(paths).write({ ...run('full'), loadBefore: 3.25 }, [row('n', {}, 1)]);
  expect(first()).toMatch(/Other programs used the machine, too: the load average .* was 3\.3\.$/);
});

it('keeps a soak beside a full run, and lets each replace its own kind', () => {
  const values = () => results().rows.map(({ mode, value }) => [mode, value]);
  openReport(paths).write(run('full'), [row('n', {}, 1)]);
  openReport(paths).write(run('soak'), [row('rss_slope', {}, 2)]);
  openReport(paths).write(run('soak'), [row('rss_slope', {}, 3)]);
  expect(values()).toEqual([
    ['full', 1],
    ['soak', 3],
  ]);
  openReport(paths).write(run('quick'), [row('n', {}, 4)]);
  expect(values()).toEqual([
    ['soak', 3],
    ['quick', 4],
  ]);
  expect(results().runs.map(({ mode }) => mode)).toEqual(['soak', 'quick']);
});

it('refuses foreign results and a page without marks when it is opened', () => {
  writeFileSync(join(dir, 'other.json'), '{"rows": []}');
  expect(() => openReport({ ...paths, results: join(dir, 'other.json') })).toThrow('delete the file');
  writeFileSync(paths.page, 'no marks');
  expect(() => openReport(paths)).toThrow('no marks');
});

it('writes the same page and plots from the results alone', () => {
  const arms = [100, 1_000].map((positions) => row('rank_p50', { arm: 'factored', positions }, positions / 100));
  openReport(paths).write(run('full'), [...arms, row('n', { p: 1 }, 2, '<= 1')]);
  const before = page();
  writeFileSync(paths.page, before.replace('| n | p 1 | 2 |', '| n | p 1 | 3 |'));
  rmSync(paths.plots, { recursive: true });
  openReport(paths).render();
  expect(page()).toBe(before);
  expect(readdirSync(paths.plots)).toEqual(['latency-by-length.svg']);
});

it('draws a plot of the arms and shows it on the page', () => {
  const arms = ['factored', 'full_fp16'].flatMap((arm) =>
    [100, 1_000].map((positions) => row('rank_p50', { arm, positions }, positions / 100)),
  );
  openReport(paths).write(run('full'), arms);
  expect(readdirSync(paths.plots)).toEqual(['latency-by-length.svg']);
  expect(readFileSync(join(paths.plots, 'latency-by-length.svg'), 'utf8')).toContain('>full_fp16<');
  expect(page()).toContain('(plots/latency-by-length.svg)');
  expect(page()).toContain('| positions | factored | full_fp16 |\n|---|---|---|\n| 100 | 1 | 1 |\n| 1000 | 10 | 10 |');
});

it('names the bundles of every table, and tells random weights from trained ones', () => {
  const arms = ['factored', 'factored, unary', 'full_fp16'].map((arm) => row('rank_p50', { arm, positions: 100 }, 1));
  const others = [
    row('pool_rank_p50', { pool: 64, positions: 100 }, 2),
    row('candidates_rank_p50', { candidates: 10 }, 3),
  ];
  openReport(paths).write(run('full'), [...arms, ...others]);
  const after = (title: string) => page().split(`### ${title}`)[1]?.split('\n')[2];
  expect(after('Rank p50 by history length')).toBe('Bundles: factored `f00d`, full_fp16 `f16f`; a log.');
  expect(after('By number of candidates')).toBe('Bundles: factored `f00d`; a log.');
  expect(after('Pools with random weights')).toBe('Bundles: shared `aaaa`; random weights.');
  expect(page()).toContain('| pool | `b0b0` | a log | full |');
});

it('puts quality, bytes and time of each bundle on one line, and no such line without quality', () => {
  const figures = ['factored', 'pool'].flatMap((arm, i) => [
    row('auc', { arm }, 0.8 + i / 10),
    row('auc_minus_full', { arm }, -i / 100),
    row('bytes_per_position', { arm, positions: 1_000 }, 4 - i),
    row('rank_p50', { arm, positions: 1_000 }, 1 + i),
    row('rank_p50', { arm, positions: 10_000 }, 10 + i),
  ]);
  openReport(paths).write(run('full'), figures);
  expect(page()).toContain(
    '| factored | 0.8000 | 0 |  | 4 |  | 1 | 10 |  |\n| pool | 0.9000 | -0.01 |  | 3 |  | 2 | 11 |  |',
  );
  openReport(paths).write(run('full'), figures.slice(2, 5));
  expect(page()).not.toContain('Quality, bytes and time');
});

it('draws all points inside the chart, and higher values higher', () => {
  const points = [
    [1, 0.5],
    [10, 40],
    [50_000, 3_000],
  ] as const;
  for (const log of [true, false]) {
    const series = [{ name: 'a < b', points }];
    const svg = lineChart({ title: 't', xLabel: 'x', yLabel: 'y', xLog: log, yLog: log, series });
    const dots = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)]);
    expect(dots).toHaveLength(3);
    for (const [x, y] of dots as [number, number][]) {
      expect(x).toBeGreaterThanOrEqual(70);
      expect(x).toBeLessThanOrEqual(560);
      expect(y).toBeGreaterThanOrEqual(46);
      expect(y).toBeLessThanOrEqual(360);
    }
    expect(dots.map(([, y]) => y)).toEqual(dots.map(([, y]) => Number(y)).sort((a, b) => b - a));
    expect(svg).toContain('a &lt; b');
  }
});
