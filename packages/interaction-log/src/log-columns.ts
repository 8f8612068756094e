import { LogError } from './log-error.js';

/** Our columns of a log, one for each field of an interaction. The label is for training only. */
export const LOG_COLUMNS = ['event_id', 'user_id', 'item_id', 'timestamp_ms', 'action', 'label'] as const;
export type LogColumn = (typeof LOG_COLUMNS)[number];

/** Columns that every log has. */
export const REQUIRED_COLUMNS: readonly string[] = ['user_id', 'item_id', 'timestamp_ms'] satisfies LogColumn[];

/** Names of our columns in logs. training/data/log_columns.py has the same. The option --columns maps other names. */
const USUAL_NAMES: ReadonlyMap<string, readonly string[]> = new Map([
  ['event_id', ['event_id', 'eventId']],
  ['user_id', ['user_id', 'userId']],
  ['item_id', ['item_id', 'itemId', 'video_id']],
  ['timestamp_ms', ['timestamp_ms', 'timestampMs', 'time_ms']],
]);

const MOST_NAMES = 20;

/** Our column name -> the file's column name, if they differ. */
export type ColumnMap = Readonly<Record<string, string>>;

/** Returns the names that a column may have in a file. */
export function namesOf(ours: string, columns: ColumnMap): readonly string[] {
  const mapped = mappedName(ours, columns);
  return mapped === undefined ? (USUAL_NAMES.get(ours) ?? [ours]) : [mapped];
}

/** Returns the name that the option --columns gives. A feature may be called `constructor`. */
export function mappedName(ours: string, columns: ColumnMap): string | undefined {
  return Object.hasOwn(columns, ours) ? columns[ours] : undefined;
}

/**
 * Returns the name of each of our columns in the file, or undefined for a column that the file does not have.
 * @param wanted our columns and features
 * @param names columns of the file
 * @param where the file, and the line of its header
 * @throws LogError naming all missing columns, or two columns that mean the same
 */
export function findColumns(
  wanted: readonly string[],
  names: readonly string[],
  columns: ColumnMap,
  where: string,
): (string | undefined)[] {
  const found = wanted.map((ours) => {
    const [name, second] = namesOf(ours, columns).filter((one) => names.includes(one));
    if (name !== undefined && second !== undefined) throw twoNames(where, ours, name, second);
    return name;
  });
  const missing = wanted.filter(
    (ours, i) => found[i] === undefined && (REQUIRED_COLUMNS.includes(ours) || mappedName(ours, columns) !== undefined),
  );
  if (missing.length > 0) throw noColumns(where, missing, names, columns);
  return found;
}

/** Returns the error for a file that uses two names of one of our columns. */
export function twoNames(where: string, ours: string, name: string, second: string): LogError {
  return new LogError(
    `${where}: has the columns ${name} and ${second}, which both mean ${ours}; remove one, or choose one with --columns ${ours}=NAME`,
  );
}

/** Returns the error for missing columns. */
export function noColumns(
  where: string,
  missing: readonly string[],
  names: readonly string[],
  columns: ColumnMap,
): LogError {
  const rest = names.length - MOST_NAMES;
  const shown = [...names.slice(0, MOST_NAMES), ...(rest > 0 ? [`${rest} more`] : [])];
  const wanted = missing.map((ours) => mappedName(ours, columns) ?? ours);
  return new LogError(
    `${where}: has no column ${wanted.join(', ')}; it has ${shown.join(', ')}. Rename columns, or map them with --columns ${missing[0]}=NAME`,
  );
}
