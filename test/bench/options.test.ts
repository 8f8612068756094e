import { expect, it } from 'vitest';
import { BASELINES, lengthsOf, PARTS, readOptions } from './options.js';

it('runs every part and writes to the repository by default', () => {
  expect(readOptions([])).toMatchObject({
    mode: 'full',
    parts: PARTS,
    out: '.',
    python: undefined,
    renderOnly: false,
  });
});

it('runs every part in fewer and shorter rounds with --quick', () => {
  const [full, quick] = [readOptions([]), readOptions(['--quick'])];
  expect(quick).toMatchObject({ mode: 'quick', parts: PARTS, out: '.' });
  expect(quick?.rounds).toBeLessThan(full?.rounds ?? 0);
  expect(quick?.sliceMs).toBeLessThan(full?.sliceMs ?? 0);
});

it('measures memory alone with --soak', () => {
  expect(readOptions(['--soak'])).toMatchObject({ mode: 'soak', parts: ['memory'], out: '.' });
});

it('switches bundles alone with --switches', () => {
  expect(readOptions(['--switches'])).toMatchObject({ mode: 'switches', parts: ['switches'], out: '.' });
});

it('does not overwrite the results of a whole run with those of a part', () => {
  expect(readOptions(['--only', 'load'])?.out).toBeUndefined();
  expect(readOptions(['--lengths', '100'])?.out).toBeUndefined();
  expect(readOptions(['--only', 'load', '--out', 'there'])?.out).toBe('there');
});

it('sorts parts and lengths, and takes each once', () => {
  expect(readOptions(['--only', 'load,bytes', '--lengths', '1000,100,1000'])).toMatchObject({
    parts: ['bytes', 'load'],
    lengths: [100, 1_000],
  });
});

it.each([
  [['--only', 'bytes,speed'], '--only: unknown name speed; give some of quality, bytes'],
  [['--lengths', '100,100001'], '--lengths: "100001" is not a whole number from 1 to 100000'],
  [['--baselines', 'none,recompute'], '--baselines: unknown name none; give some of full_fp32'],
  [['--rounds', '0'], '--rounds: "0" is not a whole number from 1 to 100'],
  [['--runs', 'many'], '--runs: "many" is not a whole number'],
  [['--quick', '--soak'], '--quick, --soak, --overload and --switches exclude each other: give one of them'],
  [['--switches', '--overload'], '--quick, --soak, --overload and --switches exclude each other'],
  [['--soak', '--overload'], '--quick, --soak, --overload and --switches exclude each other: give one of them'],
  [['--fast'], "Unknown option '--fast'"],
])('refuses %j', (args, message) => {
  expect(() => readOptions(args)).toThrow(message);
});

it('compares with all baselines by default, else with some or none', () => {
  expect(readOptions([])?.baselines).toEqual(BASELINES);
  expect(readOptions(['--baselines', 'recompute'])).toMatchObject({ baselines: ['recompute'], out: undefined });
  expect(readOptions(['--baselines', 'none'])).toMatchObject({ baselines: [], out: undefined });
});

it('trains on public data with --data, else on a simulated log', () => {
  expect(readOptions(['--data', 'there'])).toMatchObject({ data: 'there', out: '.' });
  expect(readOptions([])?.data).toBeUndefined();
});

it.each([
  ['factored', [100, 1_000, 10_000, 100_000]],
  ['recompute_clusters', [100, 1_000, 10_000, 100_000]],
  ['full_fp16', [100, 1_000, 10_000]],
  ['recompute', [100, 1_000, 10_000]],
  ['factored, unary', [1_000, 10_000]],
])('measures %s at %j positions', (arm, lengths) => {
  expect(lengthsOf(arm, [100, 1_000, 10_000, 100_000])).toEqual(lengths);
});

it('only writes page and plots with --render', () => {
  expect(readOptions(['--render'])).toMatchObject({ renderOnly: true, out: '.' });
});

it('has no options for --help', () => {
  expect(readOptions(['--help'])).toBeUndefined();
});
