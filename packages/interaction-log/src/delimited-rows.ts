import { counted, repeated } from '@collectivekv/domain';
import { isBlank } from './cell.js';
import { findColumns } from './log-columns.js';
import { LogError } from './log-error.js';
import type { LogSource, RawRow } from './log-source.js';
import type { Problem } from './problem-list.js';
import { refusePublishedColumns } from './published-files.js';
import { textLines } from './text-lines.js';
import type { Packing } from './unpacked-bytes.js';

const NAMES: Readonly<Record<string, string>> = { ',': 'commas', '\t': 'tabs', ';': 'semicolons', '|': 'bars' };

/**
 * Yields the rows of CSV or TSV, some at a time. The first line that is not empty is the header.
 * @throws LogError for a header without the required columns
 */
export async function* delimitedRows(
  source: LogSource,
  delimiter: ',' | '\t',
  packing: Packing,
): AsyncGenerator<RawRow[]> {
  const { file, report } = source;
  const split = cellSplitter(delimiter);
  let header: { readonly indexes: readonly number[]; readonly width: number } | undefined;
  const reportLine = (problem: Problem) => {
    if (!header) throw new LogError(`${file}, line ${problem.place}: ${problem.text}`);
    report(problem);
  };
  for await (const { first, texts, faults } of textLines(file, packing)) {
    const rows: RawRow[] = [];
    for (const [i, text] of texts.entries()) {
      const place = first + i;
      const fault = faults.get(i);
      if (fault) reportLine({ place, ...fault });
      if (text === '') continue;
      if (text.startsWith('#')) {
        const remedy = 'a log has no comment lines: remove the line, or quote the cell if # is part of it';
        reportLine({ place, kind: 'comment', text: `begins with #; ${remedy}` });
        continue;
      }
      const cells = split(text);
      if (cells === undefined) {
        const remedy = 'write a cell in one line, in quotes if it has quotes, and double the quotes in it';
        reportLine({ place, kind: 'quotes', text: `has a quote inside a cell, or an open one; ${remedy}` });
      } else if (isBlank(cells[0]) && cells.every(isBlank)) {
      } else if (!header) {
        header = readHeader(source, cells, delimiter, `${file}, line ${place}`);
      } else if (cells.length !== header.width) {
        const remedy = 'write as many, and quote a cell that has the separator';
        reportLine({
          place,
          kind: 'width',
          text: `has ${counted(cells.length, 'cell')}, but the header has ${header.width}; ${remedy}`,
        });
      } else {
        rows.push({ place, cells: header.indexes.map((index) => cells[index]) });
      }
    }
    if (rows.length > 0) yield rows;
  }
}

function readHeader(source: LogSource, cells: readonly string[], delimiter: string, where: string) {
  const names = cells.map((name) => name.replace(/^[ \t]+|[ \t]+$/g, ''));
  const [twice] = repeated(names.filter((name) => name !== ''));
  if (twice !== undefined) throw new LogError(`${where}: has the column ${twice} twice; rename or remove one of them`);
  refusePublishedColumns(source.file, names);
  const other = Object.keys(NAMES).find((one) => one !== delimiter && names.length === 1 && names[0]?.includes(one));
  if (other !== undefined) {
    const kind = delimiter === ',' ? '.csv' : '.tsv';
    throw new LogError(
      `${where}: has ${NAMES[other]} between cells, but a ${kind} file has ${NAMES[delimiter]}; ${remedyOf(other, delimiter)}`,
    );
  }
  const found = findColumns(source.wanted, names, source.columns, where);
  for (const [i, name] of found.entries()) if (name !== undefined) source.names[i] = name;
  return { indexes: found.map((name) => (name === undefined ? -1 : names.indexOf(name))), width: names.length };
}

function remedyOf(found: string, wanted: string): string {
  if (found === '\t') return 'name the file .tsv';
  if (found === ',') return 'name the file .csv';
  return `write ${NAMES[wanted]}, and numbers with a decimal point`;
}

/**
 * Returns a function that splits a line into cells as RFC 4180 has it. It returns undefined if quotes are misplaced.
 */
function cellSplitter(delimiter: ',' | '\t'): (line: string) => readonly string[] | undefined {
  const cell = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${delimiter}]*))(${delimiter}|$)`, 'y');
  return (line) => {
    if (!line.includes('"')) return line.split(delimiter);
    const cells: string[] = [];
    cell.lastIndex = 0;
    for (;;) {
      const found = cell.exec(line);
      if (!found) return undefined;
      const [, quoted, bare = '', end] = found;
      cells.push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
      if (end === '') return cells;
    }
  };
}
