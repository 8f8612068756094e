import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { damagedBytes } from './damaged-bytes.js';
import { damagedValues } from './damaged-json.js';
import { hostileNumber, hostileText } from './hostile.js';

/** A log file that somebody wants to import or to replay. */
export interface LogFile {
  readonly name: string;
  readonly content: Buffer;
}

const HEADER = ['event_id', 'user_id', 'item_id', 'timestamp_ms', 'action', 'watch_ratio', 'label'];
const ROWS = [
  ['e1', 'u1', 'i1', '1700000000000', 'click', '0.5', '1'],
  ['e2', 'u2', 'i2', '1700000001000', '', '', ''],
  ['e3', 'ü3', '"i,3"', '1700000002000', 'like', '1', '0'],
];
const textOf = (rows: readonly (readonly string[])[], separator: string, lineEnd = '\n') =>
  Buffer.from(rows.map((row) => row.join(separator)).join(lineEnd) + lineEnd);
const CSV = textOf([HEADER, ...ROWS], ',');
const TSV = textOf([HEADER, ...ROWS], '\t');
const OBJECTS = ROWS.map((row) =>
  Object.fromEntries(row.map((cell, i) => [HEADER[i] ?? '', i === 3 ? Number(cell) : cell])),
);
const JSONL = Buffer.from(OBJECTS.map((row) => `${JSON.stringify(row)}\n`).join(''));
const SEEDS: readonly (readonly [ending: string, Buffer])[] = [
  ['csv', CSV],
  ['csv', textOf([HEADER, ...ROWS], ';', '\r\n')],
  ['csv', Buffer.concat([Buffer.from('\ufeff'), CSV])],
  ['tsv', TSV],
  ['jsonl', JSONL],
  ['ndjson', JSONL],
  ['json', Buffer.from(JSON.stringify(OBJECTS))],
  ['csv.gz', gzipSync(CSV)],
  ['jsonl.gz', gzipSync(JSONL)],
  ['csv', gzipSync(CSV)],
  ['csv.gz', CSV],
  ['parquet', CSV],
];
const ENDINGS = ['csv', 'CSV', 'tsv', 'jsonl', 'ndjson', 'json', 'csv.gz', 'jsonl.gz', 'tsv.gz', 'parquet', 'txt', ''];

const damaged = fc.oneof(
  ...SEEDS.map(([ending, content]) =>
    damagedBytes([content]).map((bytes) => ({ name: `log.${ending}`, content: bytes })),
  ),
);
const cell = fc.oneof(hostileText, hostileNumber.map(String), fc.constantFrom(...ROWS.flat()));
const quoted = (text: string) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
/** Tables with a readable header and cells of any content. */
const tables = fc
  .tuple(
    fc.array(fc.array(cell, { minLength: HEADER.length, maxLength: HEADER.length }), { minLength: 1, maxLength: 4 }),
  )
  .map(([rows]) => ({
    name: 'log.csv',
    content: textOf([HEADER, ...ROWS, ...rows.map((row) => row.map(quoted))], ','),
  }));
const columns = fc
  .array(fc.oneof(fc.constantFrom(...HEADER, 'label', 'userId', '__proto__', ''), hostileText), { maxLength: 9 })
  .map((names) => ({ name: 'log.csv', content: textOf([names.map(quoted), ...ROWS], ',') }));
const lines = fc
  .array(damagedValues(OBJECTS), { minLength: 1, maxLength: 4 })
  .map((rows) => ({ name: 'log.jsonl', content: Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join('')) }));
const misnamed = fc
  .tuple(fc.constantFrom(...ENDINGS), fc.constantFrom(...SEEDS))
  .map(([ending, [, content]]) => ({ name: ending === '' ? 'log' : `log.${ending}`, content }));

/** Logs with damaged bytes, cells, columns and objects, and logs under the name of another format. */
export const LOG_FILES: fc.Arbitrary<LogFile> = fc.oneof(
  { weight: 3, arbitrary: damaged },
  { weight: 3, arbitrary: tables },
  columns,
  { weight: 3, arbitrary: lines },
  misnamed,
);
