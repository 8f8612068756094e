import type { Cell } from './cell.js';
import type { ColumnMap } from './log-columns.js';
import type { Problem } from './problem-list.js';

/** A log file that is being read. */
export interface LogSource {
  readonly file: string;
  /** Our columns, then the features: the cells of each row. */
  readonly wanted: readonly string[];
  /** The name of each wanted column in the file. The reader of the form fills it in. */
  readonly names: string[];
  readonly columns: ColumnMap;
  /** Takes the rows that cannot be read. */
  readonly report: (problem: Problem) => void;
}

/** A row before its cells are checked. */
export interface RawRow {
  /** Line of the text, or row of Parquet, from 1. */
  readonly place: number;
  /** One for each wanted column; undefined if the row has none. */
  readonly cells: readonly Cell[];
}
