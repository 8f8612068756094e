import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** One figure. */
export interface Row {
  readonly name: string;
  readonly params: string;
  readonly value: number;
  readonly unit: string;
  /** `>= 0.7` or `<= 1.35`; empty where there is none. */
  readonly target: string;
}

/** Whether a figure reaches its target; undefined without one. */
export function reaches({ value, target }: Row): boolean | undefined {
  const [, sign, bound] = /^([<>]=) (.+)$/.exec(target) ?? [];
  if (!sign) return undefined;
  return sign === '<=' ? value <= Number(bound) : value >= Number(bound);
}

/** Writes the figures as JSON, and into the page between its marks. */
export function writeReport(rows: readonly Row[], { results, page }: { results: string; page: string }): void {
  writeFileSync(results, `${JSON.stringify({ node: process.version, cores: cpus().length, rows }, null, 2)}\n`);
  const text = readFileSync(page, 'utf8');
  const [begin, end] = [text.indexOf('<!-- bench:begin'), text.indexOf('<!-- bench:end -->')];
  if (begin < 0 || end < 0) throw new Error(`${page} has no marks for the figures`);
  const from = text.indexOf('\n', begin) + 1;
  writeFileSync(page, `${text.slice(0, from)}${table(rows)}\n${text.slice(end)}`);
}

function table(rows: readonly Row[]): string {
  const met = (row: Row) => ({ true: 'yes', false: '**no**', undefined: '' })[String(reaches(row))] ?? '';
  const lines = rows.map((row) => {
    const { name, params, value, unit, target } = row;
    return `| ${name} | ${params} | ${rounded(value)}${unit === '' ? '' : ` ${unit}`} | ${target} | ${met(row)} |`;
  });
  const cores = `On ${cpus().length} cores, Node ${process.version}; everything on one machine.`;
  return ['| name | params | value | target | met |', '|---|---|---|---|---|', ...lines, '', cores].join('\n');
}

function rounded(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}
