import type { Row } from './results.js';
import { table, withUnit } from './tables.js';

/** A column of the summary: the figure, and the parameters that its rows must have. */
interface Column {
  readonly head: string;
  readonly name: string;
  readonly positions?: number;
}

const COLUMNS: readonly Column[] = [
  { head: 'AUC', name: 'auc' },
  { head: 'AUC minus full model', name: 'auc_minus_full' },
  { head: 'GAUC minus full model', name: 'gauc_minus_full' },
  { head: 'bytes a position, at 1,000', name: 'bytes_per_position', positions: 1_000 },
  { head: 'at 10,000', name: 'bytes_per_position', positions: 10_000 },
  { head: 'Rank p50, 1,000 positions', name: 'rank_p50', positions: 1_000 },
  { head: '10,000 positions', name: 'rank_p50', positions: 10_000 },
  { head: '100,000 positions', name: 'rank_p50', positions: 100_000 },
];

/** Names of the figures that the page shows in the summary alone. */
export const SUMMARY_ONLY = ['auc', 'auc_minus_full', 'gauc', 'gauc_minus_full', 'bytes_per_position', 'bytes_ratio'];

/** Returns quality, bytes and time side by side, a line for each bundle. Undefined if no figure is there. */
export function summaryTable(rows: readonly Row[]): string | undefined {
  const arms = [...new Set(rows.filter(({ name }) => name === 'auc').map(({ params }) => String(params.arm)))];
  if (arms.length === 0) return undefined;
  const lines = arms.map((arm) => {
    const cells = COLUMNS.map(({ name, positions }) => {
      const found = rows.find(
        (row) =>
          row.name === name &&
          row.params.arm === arm &&
          (positions === undefined || row.params.positions === positions),
      );
      return found ? (name === 'auc' ? found.value.toFixed(4) : withUnit(found)) : '';
    });
    return [arm, ...cells];
  });
  return table(['bundle', ...COLUMNS.map(({ head }) => head)], lines);
}
