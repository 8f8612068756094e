import { expect, it } from 'vitest';
import { addRuns, type GpuRun } from './gpu-results.js';
import { gpuTables } from './gpu-tables.js';

function row(arm: string, value: number, name = 'batch_p50', users = 512) {
  const params = { path: 'PyTorch', arm, users, positions: 1_000, candidates: 1 };
  return { name, params, value, unit: name === 'batch_p50' ? 'ms' : '', target: '' };
}
const run: GpuRun = {
  card: 'a card',
  origin: 'measured by hand',
  finished: '2026-11-27T00:00:00Z',
  notes: ['without RankMany'],
  rows: [
    row('full_float32', 20),
    row('full_float16', 10),
    row('collapsed', 0.08),
    row('collapsed', 0.2, 'batch_p50', 64),
    row('hstu_gathered', 3),
    row('collapsed', 0.000_013, 'difference'),
    row('collapsed', 0.000_002, 'difference', 64),
  ],
};

it('names the card, the origin and the date, and has a line for each batch', () => {
  expect(gpuTables([run])).toBe(
    [
      '### a card\n\nmeasured by hand. 2026-11-27. without RankMany.\n\nPyTorch, time of a batch:\n',
      '| users x positions x candidates | full_float32 | full_float16 | collapsed |',
      '|---|---|---|---|',
      '| 512 x 1,000 x 1 | 20 ms | 10 ms | 0.08 ms |',
      '| 64 x 1,000 x 1 |  |  | 0.2 ms |',
      '\nPyTorch, times faster than full_float32 / full_float16:\n',
      '| users x positions x candidates | collapsed |',
      '|---|---|',
      '| 512 x 1,000 x 1 | 250 / 125 |',
      '\nPyTorch, time of a batch:\n',
      '| users x positions x candidates | hstu_gathered |',
      '|---|---|',
      '| 512 x 1,000 x 1 | 3 ms |',
      '\nPyTorch, largest difference of a score:\n',
      '| arm | difference |',
      '|---|---|',
      '| collapsed | 1.3e-5 |',
    ].join('\n'),
  );
});

it('a run adds to one of the same card and origin, and replaces figures that it measured again', () => {
  const other = { ...run, card: 'another card' };
  const [first, second] = [row('collapsed', 0.09), row('clusters', 0.3)];
  const again = { ...run, finished: '2026-12-01T00:00:00Z', notes: ['in two calls'], rows: [first, second] };
  const { runs } = addRuns({ runs: [run, other] }, { runs: [again] });
  const kept = run.rows.filter((one) => one !== run.rows[2]);
  const notes = ['without RankMany', 'in two calls'];
  expect(runs).toEqual([{ ...again, notes, rows: [...kept, first, second] }, other]);
});
