import { pairs } from '../print.js';
import type { Plan, Section, Unit } from './figure.js';

/** Returns a plan as text: lines for each section, then the warnings. */
export function planText({ sections, warnings }: Plan): string {
  const notes = warnings.map((warning) => `warning: ${warning}`);
  return [...sections.map(sectionText), SOURCES, ...notes].join('\n\n');
}

const SOURCES = pairs([
  ['given', 'an option of the command'],
  ['assumed', 'a default; an option or your own figure may replace it'],
  ['computed', 'by the layout of records, the structures of Redis 6.2 to 7.2 and the sizes of jemalloc'],
  ['measured', 'processor time, counted by the processes of a calibration'],
]);

function sectionText({ title, figures }: Section): string {
  const rows = figures.map(({ label, value, unit, source, basis }) => [label, valueText(value, unit), source, basis]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map(([label = '', value = '', source = '', basis = '']) => {
    const [labelWidth = 0, valueWidth = 0, sourceWidth = 0] = widths;
    return `  ${label.padEnd(labelWidth)}  ${value.padStart(valueWidth)}  ${source.padEnd(sourceWidth)}  ${basis}`;
  });
  return `${title}\n${lines.join('\n')}`;
}

/** Returns a value with its unit: three digits, and whole numbers in full. */
export function valueText(value: number, unit: Unit): string {
  if (unit === 'bytes' || unit === 'bytes/s') return bytesText(value) + (unit === 'bytes/s' ? '/s' : '');
  if (unit === 'count') return Math.round(value).toLocaleString('en');
  const digits =
    Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));
  return unit === 'share' ? digits : `${digits} ${unit}`;
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'] as const;

function bytesText(bytes: number): string {
  let [rest, unit] = [bytes, 0];
  while (rest >= 1_000 && unit < BYTE_UNITS.length - 1) {
    rest /= 1_000;
    unit++;
  }
  return `${Number(rest.toPrecision(3))} ${BYTE_UNITS[unit]}`;
}
