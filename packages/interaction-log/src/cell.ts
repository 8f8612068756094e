/** A number of JSON or Parquet with all its digits. */
export class NumberCell {
  constructor(readonly text: string) {}
}

/** Bytes of Parquet text that are not UTF-8. */
export class UnreadableText {}

/**
 * A cell as its file has it: text, a number, a boolean, or nothing (null, undefined or empty text). Any other value is
 * an object or an array. Ids are never JavaScript numbers, which lose digits.
 */
export type Cell = unknown;

const MOST_CHARACTERS = 40;

/** Returns a cell in words, for errors. Long text is cut. */
export function describeCell(cell: Cell): string {
  if (cell instanceof NumberCell) return cell.text.slice(0, MOST_CHARACTERS);
  if (typeof cell === 'string') return JSON.stringify([...cell].slice(0, MOST_CHARACTERS).join(''));
  if (typeof cell === 'boolean' || typeof cell === 'number') return String(cell);
  return Array.isArray(cell) ? 'an array' : 'an object';
}

/** True if the cell holds nothing, or only spaces and tabs. */
export function isBlank(cell: Cell): boolean {
  return cell === undefined || cell === null || (typeof cell === 'string' && BLANK.test(cell));
}

const BLANK = /^[ \t]*$/;
