import { basename } from 'node:path';
import { LogError } from './log-error.js';

interface Published {
  readonly what: string;
  readonly format: string;
  /** Columns that only its files have together. */
  readonly columns: readonly string[];
  /** The importer takes the folder, not the file. */
  readonly folder?: true;
}

/** Files of public data sets, by their columns. training/data/published_files.py has the same. */
const PUBLISHED: readonly Published[] = [
  { what: 'MovieLens', format: 'movielens', columns: ['userId', 'movieId', 'rating'] },
  { what: 'MovieLens', format: 'movielens', columns: ['user', 'pos', 'item', 'rating'] },
  {
    what: 'KuaiRand',
    format: 'kuairand',
    columns: ['user_id', 'video_id', 'time_ms', 'is_click', 'long_view'],
    folder: true,
  },
  { what: 'KuaiRand', format: 'kuairand-partial', columns: ['user_id', 'history_len', 'watch_seq'], folder: true },
  { what: 'BARS', format: 'microvideo', columns: ['user_index', 'item_index', 'seq_len'], folder: true },
  { what: 'EBNeRD', format: 'ebnerd', columns: ['impression_id', 'user_id', 'article_ids_inview'], folder: true },
];

/** Files of public data sets without a header, by their names. */
const NAMES: readonly [RegExp, string, string][] = [
  [/^ratings\.dat(\.gz|\.xz)?$/i, 'MovieLens', 'movielens'],
  [/^u\.data(\.gz|\.xz)?$/i, 'MovieLens', 'movielens'],
  [/^behaviors\.tsv(\.gz|\.xz)?$/i, 'MIND', 'mind'],
];

/** @throws LogError naming the importer, if the name is that of a published file without a header */
export function refusePublishedName(file: string): void {
  const found = NAMES.find(([name]) => name.test(basename(file)));
  if (found) throw published(file, found[1], found[2], file);
}

/** @throws LogError naming the importer, if these are the columns of a published file */
export function refusePublishedColumns(file: string, names: readonly string[]): void {
  const found = PUBLISHED.find(({ columns }) => columns.every((name) => names.includes(name)));
  if (found) throw published(file, found.what, found.format, found.folder ? 'FOLDER' : file);
}

function published(file: string, what: string, format: string, source: string): LogError {
  return new LogError(
    `${file}: is a file of ${what}, not a log; make a log of it: .venv/bin/python training/import_log.py ${format} ${source} --out log.parquet`,
  );
}
