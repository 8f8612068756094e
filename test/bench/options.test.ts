import { expect, it } from 'vitest';
import { BASELINES, PARTS, readOptions } from './options.js';

it('runs every part of the whole and writes it to the tree', () => {
  expect(readOptions([])).toMatchObject({ mode: 'full', parts: PARTS, out: '.', python: undefined });
});

it('runs every part quickly, in fewer and shorter rounds', () => {
  const [full, quick] = [readOptions([]), readOptions(['--quick'])];
  expect(quick).toMatchObject({ mode: 'quick', parts: PARTS, out: '.' });
  expect(quick?.rounds).toBeLessThan(full?.rounds ?? 0);
  expect(quick?.sliceMs).toBeLessThan(full?.sliceMs ?? 0);
});

it('soaks for memory alone', () => {
  expect(readOptions(['--soak'])).toMatchObject({ mode: 'soak', parts: ['memory'], out: '.' });
});

it('does not write a part of a run over the whole', () => {
  expect(readOptions(['--only', 'load'])?.out).toBeUndefined();
  expect(readOptions(['--lengths', '100'])?.out).toBeUndefined();
  expect(readOptions(['--only', 'load', '--out', 'there'])?.out).toBe('there');
});

it('takes parts in their own order and lengths ascending, each once', () => {
  expect(readOptions(['--only', 'load,bytes', '--lengths', '1000,100,1000'])).toMatchObject({
    parts: ['bytes', 'load'],
    lengths: [100, 1_000],
  });
});

it.each([
  [['--only', 'bytes,speed'], '--only: there is no speed, but bytes, length'],
  [['--lengths', '100,50001'], '--lengths: "50001" is no whole number from 1 to 50000'],
  [['--baselines', 'none,recompute'], '--baselines: there is no none, but full_fp32'],
  [['--rounds', '0'], '--rounds: "0" is no whole number from 1 to 100'],
  [['--runs', 'many'], '--runs: "many" is no whole number'],
  [['--quick', '--soak'], '--quick and --soak: give one of them'],
  [['--fast'], "Unknown option '--fast'"],
])('refuses %j', (args, message) => {
  expect(() => readOptions(args)).toThrow(message);
});

it('compares with all baselines, some or none', () => {
  expect(readOptions([])?.baselines).toEqual(BASELINES);
  expect(readOptions(['--baselines', 'recompute'])).toMatchObject({ baselines: ['recompute'], out: undefined });
  expect(readOptions(['--baselines', 'none'])).toMatchObject({ baselines: [], out: undefined });
});

it('is asked for its usage', () => {
  expect(readOptions(['--help'])).toBeUndefined();
});
