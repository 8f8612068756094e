import { type Interaction, LIMITS } from '@collectivekv/domain';
import { type Cell, describeCell, isBlank, NumberCell, UnreadableText } from './cell.js';
import { LOG_COLUMNS } from './log-columns.js';
import type { LogSource, RawRow } from './log-source.js';

/** A row whose cells were checked. */
export interface LogRow {
  readonly place: number;
  /** Its event id is the same in every reading. */
  readonly interaction: Interaction;
  /** True if the event id is a cell of the file. */
  readonly ownEventId: boolean;
  readonly label: number | undefined;
}

/** Smaller timestamps are taken for seconds. */
const EARLIEST_MS = 1e11;
/** 2100-01-01. Later timestamps are a wrong unit or a wrong clock. */
const LATEST_MS = 4_102_444_800_000;
const MOST_FLOAT32 = 3.4028234663852886e38;
const NUMBER = /^[ \t]*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[ \t]*$/;
const WHOLE = /^-?\d+$/;

interface Fault {
  readonly kind: string;
  readonly text: string;
}

/**
 * Returns a function that checks a row. It reports every cell that cannot be read, and returns undefined then.
 * @param seed begins the event ids of rows without one
 */
export function rowChecker(source: LogSource, seed: string): (row: RawRow) => LogRow | undefined {
  const features = source.wanted.slice(LOG_COLUMNS.length);
  let sound = true;
  let place = 0;
  function checked<T>(order: number, value: T | Fault): T {
    if (!isFault(value)) return value;
    sound = false;
    source.report({ place, column: source.names[order] ?? '', order, ...value });
    return undefined as T;
  }
  return (row) => {
    const { cells } = row;
    sound = true;
    place = row.place;
    const [event, user, item, time, action, labelCell] = cells;
    const eventId = checked(0, isBlank(event) ? '' : readId(event, LIMITS.eventIdBytes));
    const userId = checked(1, readId(user, LIMITS.idBytes));
    const itemId = checked(2, readId(item, LIMITS.idBytes));
    const timestampMs = checked(3, readTimestamp(time));
    const actionWord = checked(4, isBlank(action) ? '' : readId(action, LIMITS.actionBytes));
    const label = checked(5, readLabel(labelCell));
    const values: Record<string, number> = {};
    for (const [i, name] of features.entries()) {
      const order = LOG_COLUMNS.length + i;
      const value = checked(order, readFeature(cells[order]));
      if (value !== undefined) values[name] = value;
    }
    if (!sound) return undefined;
    return {
      place,
      label,
      ownEventId: eventId !== '',
      interaction: {
        eventId: eventId || `${seed}-${place}`,
        userId,
        itemId,
        timestampMs,
        action: actionWord,
        features: values,
      },
    };
  };
}

function isFault(value: unknown): value is Fault {
  return typeof value === 'object' && value !== null;
}

/** Reads an id: text, or a whole number with all its digits. */
function readId(cell: Cell, mostBytes: number): string | Fault {
  if (isBlank(cell)) return EMPTY;
  if (cell instanceof UnreadableText) return UNREADABLE;
  const id = cell instanceof NumberCell && WHOLE.test(cell.text) ? cell.text.replace(/^-0$/, '0') : cell;
  if (typeof id !== 'string') {
    return { kind: 'type', text: `is ${describeCell(cell)}, neither text nor a whole number; write one of these` };
  }
  if (id.includes('\0')) return { kind: 'nul', text: 'has a NUL character; remove it' };
  if (/^[ \t]|[ \t]$/.test(id)) return { kind: 'space', text: 'begins or ends with a space; remove it' };
  if (id.length * 3 <= mostBytes) return id;
  const bytes = Buffer.byteLength(id);
  if (bytes <= mostBytes) return id;
  const size = bytes.toLocaleString('en');
  return { kind: 'size', text: `has ${size} bytes, at most ${mostBytes} are allowed; write a shorter one` };
}

function readTimestamp(cell: Cell): number | Fault {
  if (isBlank(cell)) return EMPTY;
  if (cell instanceof UnreadableText) return UNREADABLE;
  const value = typeof cell === 'boolean' ? undefined : numberOf(cell);
  if (value !== undefined && value >= EARLIEST_MS && value < LATEST_MS && Number.isInteger(value)) return value;
  if (value === undefined) return { kind: 'number', text: `is ${describeCell(cell)}, not a number; ${MILLISECONDS}` };
  const shown = textOf(cell);
  if (value < EARLIEST_MS)
    return { kind: 'early', text: `is ${shown}, before 1973; are these seconds? W${MILLISECONDS.slice(1)}` };
  if (value >= LATEST_MS) {
    return { kind: 'late', text: `is ${shown}, after 2099; correct the clock, or ${MILLISECONDS}` };
  }
  if (!Number.isInteger(value)) return { kind: 'whole', text: `is ${shown}, not a whole number; ${MILLISECONDS}` };
  return value;
}

function readLabel(cell: Cell): number | undefined | Fault {
  if (isBlank(cell)) return undefined;
  if (cell instanceof UnreadableText) return UNREADABLE;
  const value = numberOf(cell);
  if (value === 0 || value === 1) return value;
  const remedy = 'write 1 for the outcome to predict, 0 for any other, and nothing if the row is only history';
  return { kind: 'label', text: `is ${describeCell(cell)}, neither 0 nor 1; ${remedy}` };
}

function readFeature(cell: Cell): number | undefined | Fault {
  if (isBlank(cell)) return undefined;
  if (cell instanceof UnreadableText) return UNREADABLE;
  const value = numberOf(cell);
  if (value === undefined) {
    const remedy = 'write a number with a decimal point, or nothing if it is unknown';
    return { kind: 'number', text: `is ${describeCell(cell)}, not a number; ${remedy}` };
  }
  if (Math.abs(value) <= MOST_FLOAT32) return value;
  return { kind: 'float32', text: `is ${textOf(cell)}, too large for float32; write a smaller number` };
}

/** Returns the number of a cell; undefined if the cell has another form. */
function numberOf(cell: Cell): number | undefined {
  if (typeof cell === 'number') return cell;
  if (typeof cell === 'boolean') return Number(cell);
  const text = cell instanceof NumberCell ? cell.text : cell;
  return typeof text === 'string' && NUMBER.test(text) ? Number(text) : undefined;
}

/** Returns the text of a cell with a number. An object may have a member toString, so none may come here. */
function textOf(cell: Cell): string {
  return (cell instanceof NumberCell ? cell.text : String(cell)).replace(/^[ \t]+|[ \t]+$/g, '').slice(0, 40);
}

const MILLISECONDS = 'write Unix milliseconds';
const EMPTY: Fault = { kind: 'empty', text: 'is empty; fill it in, or remove the row' };
const UNREADABLE: Fault = { kind: 'encoding', text: 'is not UTF-8; write UTF-8' };
