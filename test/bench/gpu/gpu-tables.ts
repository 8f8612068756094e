import type { Row } from '../results.js';
import { gridTable, table, withUnit } from '../tables.js';
import type { GpuRun } from './gpu-results.js';

/** Arms that others are compared with. */
const BASELINES = ['full_float32', 'full_float16'];

const SHAPE = 'users x positions x candidates';

/** Returns the tables of all runs: times by batch and arm, ratios to full keys and values, and differences of scores. */
export function gpuTables(runs: readonly GpuRun[]): string {
  return runs.map((run) => [`### ${run.card}`, aboutRun(run), ...tablesOf(run)].join('\n\n')).join('\n\n');
}

function aboutRun({ origin, finished, notes }: GpuRun): string {
  const when = finished === '' ? '' : ` ${finished.slice(0, 10)}.`;
  return [`${origin}.${when}`, ...notes.map((note) => `${note}.`)].join(' ');
}

function tablesOf({ rows }: GpuRun): string[] {
  const paths = [...new Set(rows.map(({ params }) => String(params.path)))];
  return paths.flatMap((path) => {
    const own = rows.filter(({ params }) => params.path === path);
    const times = own.filter(({ name }) => name === 'batch_p50').map(withShape);
    const groups = [...new Set(times.map(groupOf))].map((group) => times.filter((row) => groupOf(row) === group));
    return [...groups.flatMap((group) => timesOf(path, group)), ...differencesOf(path, own)];
  });
}

/** Arms with graphs of their own have a table of their own. The others score the same. */
const groupOf = ({ params }: Row) => /^(demo|hstu)/.exec(String(params.arm))?.[0] ?? '';

function timesOf(path: string, times: readonly Row[]): string[] {
  const ratios = ratioLines(times);
  const faster = [`${path}, times faster than ${BASELINES.join(' / ')}:`, table([SHAPE, ...armsOf(times)], ratios)];
  return [`${path}, time of a batch:`, gridTable(times, SHAPE, 'arm'), ...(ratios.length > 0 ? faster : [])];
}

function withShape(row: Row): Row {
  const { users, positions, candidates, arm = '' } = row.params;
  const sizes = [users, positions, candidates].map((size) =>
    size === undefined ? '-' : Number(size).toLocaleString('en'),
  );
  return { ...row, params: { [SHAPE]: sizes.join(' x '), arm } };
}

const armsOf = (times: readonly Row[]) =>
  [...new Set(times.map(({ params }) => String(params.arm)))].filter((arm) => !BASELINES.includes(arm));

/** Returns a line for each batch that a baseline was measured on. */
function ratioLines(times: readonly Row[]): string[][] {
  const arms = armsOf(times);
  const shapes = [...new Set(times.map(({ params }) => String(params[SHAPE])))];
  return shapes.flatMap((shape) => {
    const timeOf = (arm: string) => times.find(({ params }) => params.arm === arm && params[SHAPE] === shape)?.value;
    const baselines = BASELINES.map(timeOf);
    if (baselines.every((time) => time === undefined)) return [];
    const cell = (arm: string) => {
      const own = timeOf(arm);
      if (own === undefined) return '';
      const ratio = (time: number | undefined) =>
        time === undefined ? '-' : withUnit({ ...EMPTY, value: time / own });
      return baselines.map(ratio).join(' / ');
    };
    return [[shape, ...arms.map(cell)]];
  });
}

const EMPTY: Row = { name: '', params: {}, value: 0, unit: '', target: '' };

function differencesOf(path: string, rows: readonly Row[]): string[] {
  const largest = new Map<string, number>();
  for (const { name, params, value } of rows) {
    if (!name.endsWith('difference')) continue;
    const precision = params.precision === undefined ? '' : `, golden vectors, ${params.precision}`;
    const what = `${params.arm}${precision}`;
    largest.set(what, Math.max(largest.get(what) ?? 0, value));
  }
  if (largest.size === 0) return [];
  const lines = [...largest].map(([what, value]) => [what, value === 0 ? '0' : value.toExponential(1)]);
  return [`${path}, largest difference of a score:`, table(['arm', 'difference'], lines)];
}
