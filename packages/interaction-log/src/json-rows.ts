import { parse } from 'lossless-json';
import { type Cell, NumberCell } from './cell.js';
import { mappedName, namesOf, noColumns, REQUIRED_COLUMNS, twoNames } from './log-columns.js';
import { LogError } from './log-error.js';
import type { LogSource, RawRow } from './log-source.js';
import type { Problem } from './problem-list.js';
import { refusePublishedColumns } from './published-files.js';
import { textLines } from './text-lines.js';
import type { Packing } from './unpacked-bytes.js';

/** Raised for an object that has a name twice, with different values. */
class NameTwice extends Error {}

/** The members of an object, in the order of the text. */
interface Members {
  readonly names: readonly string[];
  readonly cells: readonly Cell[];
}

/**
 * Yields the rows of JSON lines, some at a time.
 * @throws LogError if no row has a required column, or if rows use two names for one column
 */
export async function* jsonRows(source: LogSource, packing: Packing): AsyncGenerator<RawRow[]> {
  const { file, wanted, names, columns, report } = source;
  const columnsOf = new Map<string, number[]>(); // name in the file -> wanted columns
  for (const [column, ours] of wanted.entries()) {
    for (const name of namesOf(ours, columns)) columnsOf.set(name, [...(columnsOf.get(name) ?? []), column]);
  }
  const met = wanted.map(() => false);
  let head: { readonly place: number; readonly names: readonly string[] } | undefined;
  for await (const { first, texts, faults } of textLines(file, packing)) {
    const rows: RawRow[] = [];
    for (const [i, text] of texts.entries()) {
      const place = first + i;
      const fault = faults.get(i);
      if (fault) report({ place, ...fault });
      if (BLANK.test(text)) continue;
      if (!head && text.trimStart().startsWith('[')) throw arrayOfJson(`${file}, line ${place}`);
      const members = flatMembers(text) ?? anyMembers(text, place, report);
      if (members === undefined) continue;
      if (!head) {
        head = { place, names: members.names };
        refusePublishedColumns(file, head.names);
      }
      const cells: Cell[] = wanted.map(() => undefined);
      for (const [member, name] of members.names.entries()) {
        for (const column of columnsOf.get(name) ?? []) {
          if (met[column] && names[column] !== name) {
            throw twoNames(`${file}, line ${place}`, wanted[column] ?? '', names[column] ?? '', name);
          }
          met[column] = true;
          names[column] = name;
          cells[column] = members.cells[member];
        }
      }
      rows.push({ place, cells });
    }
    if (rows.length > 0) yield rows;
  }
  const missing = wanted.filter(
    (ours, i) => !met[i] && (REQUIRED_COLUMNS.includes(ours) || mappedName(ours, columns) !== undefined),
  );
  if (head && missing.length > 0) throw noColumns(`${file}, line ${head.place}`, missing, head.names, columns);
}

/** Most members of a line that is read without the parser: finding a name among the others takes time. */
const MOST_FLAT_MEMBERS = 1_000;
const BLANK = /^[ \t]*$/;
const KEYWORDS: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null };
const MEMBER =
  /[ \t]*"([^"\\\p{Cc}]*)"[ \t]*:[ \t]*(?:"([^"\\\p{Cc}]*)"|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null))[ \t]*(?:,|(\}[ \t]*$))/uy;

/**
 * Reads an object of at most 1,000 members, without escapes, nested values and names that are there twice: nearly every
 * line, several times faster than the parser. Returns undefined for any other text.
 */
export function flatMembers(text: string): Members | undefined {
  if (!text.startsWith('{')) return undefined;
  const names: string[] = [];
  const cells: Cell[] = [];
  MEMBER.lastIndex = 1;
  for (;;) {
    const found = MEMBER.exec(text);
    if (!found) return undefined;
    const [, name = '', words, digits, keyword = '', end] = found;
    if (names.length === MOST_FLAT_MEMBERS || names.includes(name)) return undefined;
    names.push(name);
    cells.push(words ?? (digits === undefined ? KEYWORDS[keyword] : new NumberCell(digits)));
    if (end !== undefined) return { names, cells };
  }
}

/** Reads any object. Returns undefined for other text, after a report. */
export function anyMembers(text: string, place: number, report: (problem: Problem) => void): Members | undefined {
  try {
    const row = parse(text, undefined, {
      parseNumber: (digits) => new NumberCell(digits),
      onDuplicateKey: () => {
        throw new NameTwice();
      },
    });
    if (typeof row === 'object' && row !== null && !Array.isArray(row) && !(row instanceof NumberCell)) {
      if (!hasHalfCharacter(text)) return { names: Object.keys(row), cells: Object.values(row) };
      const remedy = 'write whole characters';
      report({ place, kind: 'half', text: `has half a character, such as \\ud800 alone; ${remedy}` });
      return undefined;
    }
  } catch (error) {
    if (error instanceof NameTwice && isJson(text)) {
      report({ place, kind: 'twice', text: 'has a name twice, with different values; leave one out' });
      return undefined;
    }
  }
  const remedy = 'write one JSON object a line, and null for NaN or Infinity';
  report({ place, kind: 'json', text: `is not a JSON object; ${remedy}` });
  return undefined;
}

/** Returns the error for a file that is one array. */
export function arrayOfJson(where: string): LogError {
  return new LogError(`${where}: is an array of JSON; write one JSON object a line: jq -c '.[]' FILE > NEW.jsonl`);
}

/** True if the text is JSON to its end. The parser above stops at the first name that is there twice. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** True if JSON has an escaped half of a character that takes two escapes. Such text cannot be UTF-8. */
function hasHalfCharacter(text: string): boolean {
  if (!/\\u[dD]/.test(text)) return false;
  const rest = text.replace(/\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}/g, '');
  return /\\u[dD][89a-fA-F]/.test(rest);
}
