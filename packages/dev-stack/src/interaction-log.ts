import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { InteractionInput } from '@collectivekv/client';
import { CsvError, parse } from 'csv-parse';
import { parquetRows } from './parquet-rows.js';

/** An interaction of a log. Its event id is the same in every replay. */
export type LoggedInteraction = InteractionInput & { readonly eventId: string; readonly timestampMs: number };

/** Columns of a log. `event_id` and `action` are optional. A column with the name of an interaction feature is read, too. */
export const LOG_COLUMNS = ['event_id', 'user_id', 'item_id', 'timestamp_ms', 'action'] as const;

type LogColumn = (typeof LOG_COLUMNS)[number];

/** Smaller timestamps are taken for seconds. */
const EARLIEST_MS = 1e11;

/** Usual names of our columns in logs. The option --columns maps other names. */
const USUAL_NAMES: Record<LogColumn, readonly string[]> = {
  event_id: ['event_id', 'eventId'],
  user_id: ['user_id', 'userId'],
  item_id: ['item_id', 'itemId', 'video_id'],
  timestamp_ms: ['timestamp_ms', 'timestampMs', 'time_ms'],
  action: ['action'],
};

/** Options of {@link readInteractionLog}. */
export interface LogOptions {
  readonly file: string;
  /** Our column name -> the file's column name, if they differ. */
  readonly columns: Readonly<Record<string, string>>;
  /** Names of the bundle's interaction features. */
  readonly features: readonly string[];
}

/**
 * Reads an interaction log in the order of the file. Formats: Parquet (.parquet), CSV (.csv) and TSV (.tsv) with a header
 * line, and JSON lines (.jsonl). Text files may be compressed (.gz, .xz).
 * @throws Error naming the file, the line (Parquet: the row) and the column
 */
export async function* readInteractionLog({ file, columns, features }: LogOptions): AsyncGenerator<LoggedInteraction> {
  const seed = createHash('sha256').update(basename(file)).digest('hex').slice(0, 8);
  const parquet = file.endsWith('.parquet');
  const unit = parquet ? 'row' : 'line';
  let line = 1;
  for await (const row of parquet ? parquetRows(file) : textRows(file)) {
    line++;
    const at = `${file}, ${unit} ${parquet ? line - 1 : line}`;
    const text = (column: LogColumn, required: boolean): string => {
      const names = columns[column] === undefined ? USUAL_NAMES[column] : [columns[column]];
      const value = names
        .map((name) => row[name])
        .find((found) => found !== undefined && found !== null && found !== '');
      if (value !== undefined || !required) return String(value instanceof Date ? value.getTime() : (value ?? ''));
      const found = names.find((name) => name in row);
      if (found !== undefined) throw new Error(`${at}: ${found} is empty; fill it in, or remove the ${unit}`);
      const have = Object.keys(row).join(', ');
      throw new Error(
        `${at}: no column ${names[0]}; it has ${have}. Rename a column, or map it with --columns ${column}=NAME`,
      );
    };
    const timestampMs = Number(text('timestamp_ms', true));
    if (!Number.isFinite(timestampMs)) {
      throw new Error(`${at}: the timestamp is not a number; give Unix milliseconds`);
    }
    if (timestampMs < EARLIEST_MS) {
      throw new Error(`${at}: the timestamp ${timestampMs} is before 1973; are these seconds? Give Unix milliseconds`);
    }
    if (!isLabel(row.label)) {
      throw new Error(
        `${at}: the label ${row.label} is neither 0 nor 1; give 1 for the outcome to predict, 0 for any other, or nothing`,
      );
    }
    const known = features.flatMap((name) => {
      const value = row[columns[name] ?? name];
      return value === undefined || value === null || value === '' || !Number.isFinite(Number(value))
        ? []
        : [[name, Number(value)] as const];
    });
    yield {
      eventId: text('event_id', false) || `${seed}-${line}`,
      userId: text('user_id', true),
      itemId: text('item_id', true),
      timestampMs: Math.round(timestampMs),
      action: text('action', false),
      features: Object.fromEntries(known),
    };
  }
}

/** True if the cell is 0, 1 or empty. A replay has no use for labels, but training would refuse the log. */
function isLabel(cell: unknown): boolean {
  return cell === undefined || cell === null || cell === '' || Number.isNaN(cell) || [0, 1].includes(Number(cell));
}

async function* textRows(file: string): AsyncGenerator<Record<string, unknown>> {
  const bare = file.replace(/\.(gz|xz)$/, '');
  const content = contentOf(file);
  if (/\.(jsonl|ndjson)$/.test(bare)) {
    let number = 0;
    for await (const line of createInterface({ input: content, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      if (line.trim() !== '') yield parseLine(line, `${file}, line ${number}`);
    }
    return;
  }
  const delimiter = bare.endsWith('.tsv') ? '\t' : ',';
  const parser = parse({ columns: true, delimiter, skip_empty_lines: true, trim: true, bom: true });
  content.on('error', (error) => parser.destroy(error));
  try {
    yield* content.pipe(parser);
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const remedy = 'give every line as many cells as the header, and quote cells that contain the separator';
    throw new Error(`${file}: ${error.message}; ${remedy}`, { cause: error });
  }
}

function parseLine(line: string, at: string): Record<string, unknown> {
  try {
    const row: unknown = JSON.parse(line);
    if (typeof row === 'object' && row !== null) return row as Record<string, unknown>;
  } catch {
    // reported below
  }
  throw new Error(`${at}: not a JSON object; write one JSON object per line`);
}

function contentOf(file: string): Readable {
  if (file.endsWith('.xz')) {
    const xz = spawn('xz', ['-dc', file], { stdio: ['ignore', 'pipe', 'inherit'] });
    xz.on('error', () =>
      xz.stdout.destroy(new Error(`${file}: the command xz is not installed; install it, or unpack the file`)),
    );
    return xz.stdout;
  }
  const content = createReadStream(file);
  return file.endsWith('.gz') ? content.pipe(createGunzip()) : content;
}
