import { isUtf8 } from 'node:buffer';
import { LogError } from './log-error.js';
import { type Packing, PackingError, unpackedBytes } from './unpacked-bytes.js';

/** Whole lines of a text file. */
export interface Lines {
  /** Number of the first line, from 1. */
  readonly first: number;
  /** The lines without their ends. A line that is not text is empty here. */
  readonly texts: readonly string[];
  /** The problems of the lines that are not text, by their places in `texts`. */
  readonly faults: ReadonlyMap<number, LineFault>;
}

/** A line that is not text: the kind of its problem, and the problem with its remedy. */
export interface LineFault {
  readonly kind: string;
  readonly text: string;
}

const MOST_LINE_BYTES = 1 << 20;
const NEWLINE = 0x0a;
const NO_FAULTS: ReadonlyMap<number, LineFault> = new Map();
const UTF8_BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Yields the lines of a text file, some at a time. A byte order mark at the beginning is left out.
 * @throws LogError if a line is too long, or the file is cut short or damaged
 */
export async function* textLines(file: string, packing: Packing): AsyncGenerator<Lines> {
  let first = 1;
  let rest: Buffer = Buffer.alloc(0);
  const linesOf = (block: Buffer): Lines => {
    if (block.length > MOST_LINE_BYTES && firstLineBytes(block) > MOST_LINE_BYTES) throw tooLong(file, first);
    const bytes = first === 1 && block.subarray(0, 3).equals(UTF8_BOM) ? block.subarray(3) : block;
    const whole = isUtf8(bytes) ? bytes.toString('utf8') : undefined;
    const texts = whole === undefined ? splitBytes(bytes).map(decoded) : whole.split('\n');
    if (bytes.at(-1) === NEWLINE) texts.pop();
    const sound = whole !== undefined && !whole.includes('\r') && !whole.includes('\0');
    const lines = sound ? { first, texts: texts as string[], faults: NO_FAULTS } : checkedLines(first, texts);
    first += texts.length;
    return lines;
  };
  try {
    for await (const chunk of unpackedBytes(file, packing)) {
      const cut = chunk.lastIndexOf(NEWLINE) + 1;
      const block = rest.length === 0 ? chunk.subarray(0, cut) : Buffer.concat([rest, chunk.subarray(0, cut)]);
      if (cut > 0) {
        rest = Buffer.from(chunk.subarray(cut));
        yield linesOf(block);
      } else {
        rest = Buffer.concat([rest, chunk]);
      }
      if (rest.length > MOST_LINE_BYTES) throw tooLong(file, first);
    }
  } catch (error) {
    if (!(error instanceof PackingError))
      throw error instanceof LogError
        ? error
        : new LogError(`${file}: ${error instanceof Error ? error.message : error}`);
    const after = error.cutShort ? ` after line ${first - 1}` : '';
    throw new LogError(`${file}: ${error.message}${after}; ${error.remedy}`);
  }
  if (rest.length > 0) yield linesOf(rest);
}

function firstLineBytes(block: Buffer): number {
  const end = block.indexOf(NEWLINE);
  return end < 0 ? block.length : end;
}

function tooLong(file: string, line: number): LogError {
  return new LogError(
    `${file}, line ${line}: has more than ${MOST_LINE_BYTES.toLocaleString('en')} bytes; is it a log with one interaction a line?`,
  );
}

/** Returns the lines without the carriage returns at their ends. */
function checkedLines(first: number, texts: readonly (string | undefined)[]): Lines {
  const faults = new Map<number, LineFault>();
  const sound = texts.map((text, i) => {
    const line = text?.endsWith('\r') ? text.slice(0, -1) : text;
    const fault = faultOf(line);
    if (fault) faults.set(i, fault);
    return fault ? '' : (line ?? '');
  });
  return { first, texts: sound, faults };
}

function faultOf(line: string | undefined): LineFault | undefined {
  if (line === undefined) {
    return { kind: 'encoding', text: 'is not UTF-8; convert the file: iconv -f LATIN1 -t UTF-8 FILE > NEW' };
  }
  if (line.includes('\0')) return { kind: 'nul', text: 'has a NUL byte; if the file is UTF-16, convert it to UTF-8' };
  if (line.includes('\r')) return { kind: 'return', text: 'has a carriage return inside; end lines with LF or CRLF' };
  return undefined;
}

function splitBytes(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return [...lines, bytes.subarray(start)];
}

function decoded(line: Buffer): string | undefined {
  return isUtf8(line) ? line.toString('utf8') : undefined;
}
