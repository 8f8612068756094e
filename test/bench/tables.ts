import { type Params, type Row, reaches } from './results.js';

/** Returns a table with one figure per line. If a figure has a target, there are columns for targets. */
export function listTable(rows: readonly Row[]): string {
  const targets = rows.some(({ target }) => target !== '');
  const head = ['name', 'params', 'value', ...(targets ? ['target', 'met'] : [])];
  const met = (row: Row) => ({ true: 'yes', false: '**no**', undefined: '' })[String(reaches(row))] ?? '';
  const lines = rows.map((row) => {
    const cells = [row.name, paramsText(row.params), withUnit(row)];
    return targets ? [...cells, row.target, met(row)] : cells;
  });
  return table(head, lines);
}

/**
 * Returns figures as a grid: a line for each value of parameter `down`, and a column for each value of parameter
 * `across`. The parameter `name` is the figure's name. If the columns are numbers, the head says of what.
 */
export function gridTable(rows: readonly Row[], down: string, across: string): string {
  const of = (row: Row, parameter: string) => String(parameter === 'name' ? row.name : (row.params[parameter] ?? ''));
  const distinct = (parameter: string) => [...new Set(rows.map((row) => of(row, parameter)))];
  const columns = distinct(across);
  const lines = distinct(down).map((line) => {
    const own = rows.filter((row) => of(row, down) === line);
    const cells = columns.map((column) => own.find((row) => of(row, across) === column));
    return [line, ...cells.map((row) => (row ? withUnit(row) : ''))];
  });
  const numbers = columns.every((column) => Number.isFinite(Number(column)));
  return table([numbers ? `${down}, by ${across}` : down, ...columns], lines);
}

/** Returns a table of text cells. */
export function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...lines.map(line)].join('\n');
}

function paramsText(params: Params): string {
  return Object.entries(params)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

/** Returns the value in three digits, with its unit. */
export function withUnit({ value, unit }: Row): string {
  const digits = Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));
  return unit === '' ? digits : `${digits} ${unit}`;
}
