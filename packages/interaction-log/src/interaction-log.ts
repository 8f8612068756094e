import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Interaction } from '@collectivekv/domain';
import { describeCell } from './cell.js';
import { delimitedRows } from './delimited-rows.js';
import { fileKind, type LogKind } from './file-kind.js';
import { jsonRows } from './json-rows.js';
import { LOG_COLUMNS, mappedName } from './log-columns.js';
import { LogError } from './log-error.js';
import type { LogSource, RawRow } from './log-source.js';
import { parquetRows } from './parquet-rows.js';
import { createProblemList, type Problem } from './problem-list.js';
import { refusePublishedName } from './published-files.js';
import { contentOf, createEventHashes, eventKey } from './repeated-events.js';
import { type LogRow, rowChecker } from './row-checks.js';

/** Options of {@link openInteractionLog}. */
export interface LogOptions {
  readonly file: string;
  /** Our column name -> the file's column name, if they differ. */
  readonly columns: Readonly<Record<string, string>>;
  /** Names of the bundle's interaction features. */
  readonly features: readonly string[];
  /** Receives the number of rows that were read so far, from time to time. */
  readonly onRows?: (count: number) => void;
}

/** A log that was read once from end to end, without a problem. */
export interface InteractionLog {
  /** Interactions of the log. */
  readonly rowCount: number;
  /** Rows that repeat an earlier event of the same user. They are left out. */
  readonly repeatedCount: number;
  /** Rows without an event id. They get one that is made of the file's name and their place. */
  readonly unnamedCount: number;
  /** Yields the interactions in the order of the file, with the same event ids each time. Reads the file again. */
  rows(): AsyncGenerator<Interaction>;
}

/**
 * Reads a whole log and checks it by the rules of docs/interaction-log.md. Memory does not grow with the number of
 * rows, except by 8 to 16 bytes for each event id.
 * @throws LogError that names the file and each kind of problem, with lines (Parquet: rows), columns and remedies
 */
export async function openInteractionLog(options: LogOptions): Promise<InteractionLog> {
  const { file } = options;
  refusePublishedName(file);
  const kind = await fileKind(file);
  const unit = kind.form === 'parquet' ? 'row' : 'line';
  const problems = createProblemList(file, unit);
  const hashes = createEventHashes();
  const met = new Set<string>(); // events that may be there twice
  let rowCount = 0;
  let unnamedCount = 0;
  for await (const rows of checkedRows(sourceOf(options, problems.add), kind)) {
    for (const row of rows) {
      if (!row.ownEventId) unnamedCount++;
      else if (hashes.add(row.interaction.userId, row.interaction.eventId)) met.add(eventKey(row));
    }
    rowCount += rows.length;
    options.onRows?.(rowCount);
  }
  let repeatedCount = 0;
  if (met.size > 0) {
    const source = sourceOf(options, (problem) => problem.kind === 'repeated' && problems.add(problem));
    let distinctCount = 0;
    for await (const rows of withoutRepeats(source, kind, met)) distinctCount += rows.length;
    repeatedCount = rowCount - distinctCount;
  }
  if (problems.count > 0) throw problems.error();
  if (rowCount === 0) throw new LogError(`${file}: has no rows; give a log with at least one interaction`);
  return {
    rowCount: rowCount - repeatedCount,
    repeatedCount,
    unnamedCount,
    async *rows() {
      const fail = (problem: Problem) => {
        const changed = createProblemList(file, unit);
        changed.add(problem);
        throw changed.error();
      };
      const source = sourceOf(options, fail);
      for await (const rows of met.size > 0 ? withoutRepeats(source, kind, met) : checkedRows(source, kind)) {
        for (const { interaction } of rows) yield interaction;
      }
    },
  };
}

function sourceOf({ file, columns, features }: LogOptions, report: (problem: Problem) => void): LogSource {
  const wanted = [...LOG_COLUMNS, ...features];
  return { file, columns, wanted, report, names: wanted.map((ours) => mappedName(ours, columns) ?? ours) };
}

/** Yields the rows that can be read, and reports the others. */
async function* checkedRows(source: LogSource, kind: LogKind): AsyncGenerator<LogRow[]> {
  const seed = createHash('sha256').update(basename(source.file)).digest('hex').slice(0, 8);
  const check = rowChecker(source, seed);
  for await (const rows of rawRows(source, kind)) yield rows.map(check).filter((row) => row !== undefined);
}

function rawRows(source: LogSource, kind: LogKind): AsyncGenerator<RawRow[]> {
  if (kind.form === 'parquet') return parquetRows(source);
  if (kind.form === 'jsonl') return jsonRows(source, kind.packing);
  return delimitedRows(source, kind.form === 'csv' ? ',' : '\t', kind.packing);
}

/**
 * Leaves out the rows that repeat an earlier event of the same user. Reports those with another content.
 * @param met events that may be there twice
 */
async function* withoutRepeats(source: LogSource, kind: LogKind, met: ReadonlySet<string>): AsyncGenerator<LogRow[]> {
  const firsts = new Map<string, { readonly place: number; readonly content: string }>();
  for await (const rows of checkedRows(source, kind)) {
    yield rows.filter((row) => {
      const key = row.ownEventId ? eventKey(row) : '';
      if (!met.has(key)) return true;
      const content = contentOf(row);
      const first = firsts.get(key);
      if (!first) firsts.set(key, { place: row.place, content });
      else if (first.content !== content) source.report(otherContent(source, kind, row, first.place));
      return !first;
    });
  }
}

function otherContent({ names }: LogSource, kind: LogKind, row: LogRow, first: number): Problem {
  const where = `${kind.form === 'parquet' ? 'row' : 'line'} ${first}`;
  return {
    place: row.place,
    column: names[0] ?? '',
    order: 0,
    kind: 'repeated',
    text: `is ${describeCell(row.interaction.eventId)}, as in ${where} of the same user with other content; give each event of a user its own id, or remove the row`,
  };
}
