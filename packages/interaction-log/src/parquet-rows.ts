import { isUtf8 } from 'node:buffer';
import { repeated } from '@collectivekv/domain';
import {
  type AsyncBuffer,
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetScan,
  parquetSchema,
  type SchemaElement,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { type Cell, NumberCell, UnreadableText } from './cell.js';
import { findColumns } from './log-columns.js';
import { LogError } from './log-error.js';
import type { LogSource, RawRow } from './log-source.js';
import { refusePublishedColumns } from './published-files.js';

type ColumnKind = 'text' | 'whole' | 'number' | 'boolean' | 'time' | 'nothing' | 'other';

const ROWS = 4_096;
const ANY_NUMBER: readonly ColumnKind[] = ['text', 'whole', 'number', 'boolean', 'nothing'];
const ID = {
  kinds: ['text', 'whole', 'nothing'] as readonly ColumnKind[],
  problem: 'holds neither text nor whole numbers; write one of these',
};
const TIME = {
  kinds: ['text', 'whole', 'number', 'time', 'nothing'] as readonly ColumnKind[],
  problem: 'holds neither numbers nor times; write Unix milliseconds',
};
const FEATURE = { kinds: ANY_NUMBER, problem: 'does not hold numbers; write numbers' };
const RULES: ReadonlyMap<string, typeof ID> = new Map([
  ['event_id', ID],
  ['user_id', ID],
  ['item_id', ID],
  ['action', ID],
  ['timestamp_ms', TIME],
]);
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Yields the rows of Parquet, some at a time. The columns that are read of one row group are in memory.
 * @throws LogError for a missing column, a column of another type, and a damaged file
 */
export async function* parquetRows(source: LogSource): AsyncGenerator<RawRow[]> {
  const { file, wanted, names } = source;
  const buffer = await asyncBufferFromFile(file);
  const metadata = await readable(file, 0, parquetMetadataAsync(buffer));
  const elements = parquetSchema(metadata).children.map(({ element }) => element);
  const all = elements.map(({ name }) => name);
  refusePublishedColumns(file, all);
  const [twice] = repeated(all);
  if (twice !== undefined) throw new LogError(`${file}: has the column ${twice} twice; rename or remove one of them`);
  const found = findColumns(wanted, all, source.columns, file);
  for (const [i, name] of found.entries()) {
    if (name === undefined) continue;
    names[i] = name;
    const element = elements.find((one) => one.name === name);
    const rule = RULES.get(wanted[i] ?? '') ?? FEATURE;
    if (element && !rule.kinds.includes(kindOf(element))) {
      throw new LogError(`${file}, column ${name}: ${rule.problem}`);
    }
  }
  const cellOf = wanted.map((ours) => (RULES.get(ours) === ID ? idCell : numberCell));
  yield* groupRows({ file, metadata, buffer, found, cellOf });
}

/** A file whose columns fit. */
interface FoundColumns {
  readonly file: string;
  readonly metadata: FileMetaData;
  readonly buffer: AsyncBuffer;
  /** Name of each wanted column. */
  readonly found: readonly (string | undefined)[];
  /** Makes a cell of each wanted column. */
  readonly cellOf: readonly ((value: unknown) => Cell)[];
}

async function* groupRows({ file, metadata, buffer, found, cellOf }: FoundColumns): AsyncGenerator<RawRow[]> {
  const columns = found.filter((name) => name !== undefined);
  const parsers = { stringFromBytes: readText };
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const range = { rowStart, rowEnd };
    const scan = await readable(file, rowStart, parquetScan({ file: buffer, metadata, compressors, columns, parsers }));
    const read = found.map((name) => (name === undefined ? undefined : scan.readColumn({ ...range, column: name })));
    const cells = await readable(file, rowStart, Promise.all(read));
    for (let from = 0; from < rowEnd - rowStart; from += ROWS) {
      const length = Math.min(ROWS, rowEnd - rowStart - from);
      yield Array.from({ length }, (_, i) => ({
        place: rowStart + from + i + 1,
        cells: cells.map((column, j) => cellOf[j]?.(column?.[from + i])),
      }));
    }
    rowStart = rowEnd;
  }
}

async function readable<T>(file: string, row: number, read: Promise<T>): Promise<T> {
  try {
    return await read;
  } catch (cause) {
    throw new LogError(`${file}: is cut short or damaged after row ${row}; fetch or write it again`, { cause });
  }
}

/** Returns an id of Parquet as a cell. */
function idCell(value: unknown): Cell {
  return typeof value === 'bigint' || typeof value === 'number' ? new NumberCell(String(value)) : value;
}

/** Returns a number of Parquet as a cell. A time counts as Unix milliseconds. NaN counts as nothing. */
function numberCell(value: unknown): Cell {
  if (typeof value === 'number') return Number.isNaN(value) ? undefined : value;
  if (typeof value === 'bigint')
    return BigInt.asIntN(53, value) === value ? Number(value) : new NumberCell(String(value));
  return value instanceof Date ? value.getTime() : value;
}

function readText(bytes: Uint8Array | undefined): unknown {
  if (bytes === undefined) return undefined;
  return isUtf8(bytes) ? decoder.decode(bytes) : new UnreadableText();
}

function kindOf(element: SchemaElement): ColumnKind {
  const { type, converted_type: converted, logical_type: logical, num_children: children } = element;
  if (children !== undefined || element.repetition_type === 'REPEATED') return 'other';
  if (logical?.type === 'NULL') return 'nothing';
  if (type === 'INT96' || logical?.type === 'TIMESTAMP' || converted?.startsWith('TIMESTAMP_')) return 'time';
  if (type === 'BOOLEAN') return 'boolean';
  if (type === 'FLOAT' || type === 'DOUBLE' || logical?.type === 'FLOAT16') return 'number';
  const name = logical?.type ?? converted;
  if (type === 'BYTE_ARRAY') return name === undefined || ['STRING', 'UTF8', 'ENUM'].includes(name) ? 'text' : 'other';
  if (type === 'INT32' || type === 'INT64') return name === undefined || /^U?INT/.test(name) ? 'whole' : 'other';
  return 'other';
}
