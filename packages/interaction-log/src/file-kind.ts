import { open, stat } from 'node:fs/promises';
import { arrayOfJson } from './json-rows.js';
import { LogError } from './log-error.js';
import type { Packing } from './unpacked-bytes.js';

/** The form of a log file. */
export type LogKind =
  | { readonly form: 'csv' | 'tsv' | 'jsonl'; readonly packing: Packing }
  | { readonly form: 'parquet' };

const FORMS: ReadonlyMap<string, LogKind['form']> = new Map([
  ['csv', 'csv'],
  ['tsv', 'tsv'],
  ['jsonl', 'jsonl'],
  ['ndjson', 'jsonl'],
  ['parquet', 'parquet'],
]);
const USE = 'use .csv, .tsv, .jsonl (each also .gz or .xz) or .parquet';
const PACKINGS = { gz: '1f8b', xz: 'fd377a585a00' } as const;
const OTHER_PACKINGS = { zip: '504b0304', zstd: '28b52ffd', bzip2: '425a68' } as const;
const UTF16 = ['fffe', 'feff'];

/**
 * Returns the form and the packing of a file. The end of the name tells the form, in any case. The content tells the
 * packing.
 * @throws LogError naming the file and the remedy
 */
export async function fileKind(file: string): Promise<LogKind> {
  const head = await headOf(file);
  const begins = (magic: string) => head.toString('hex').startsWith(magic);
  const ending = /\.([^./\\]*)(?:\.(?:gz|xz))?$/i.exec(file.replace(/(\.(?:gz|xz))+$/i, ''))?.[1]?.toLowerCase() ?? '';
  const form = FORMS.get(ending);
  if (ending === 'json') {
    if (head.toString('latin1').trimStart().startsWith('[')) throw arrayOfJson(file);
    throw new LogError(`${file}: unknown kind of file; if it has one JSON object a line, name it .jsonl`);
  }
  if (form === undefined) throw new LogError(`${file}: unknown kind of file; ${USE}`);
  for (const [name, magic] of Object.entries(OTHER_PACKINGS)) {
    if (begins(magic)) throw new LogError(`${file}: is packed as ${name}; unpack it, or pack it as .gz or .xz`);
  }
  const isParquet = begins(Buffer.from('PAR1').toString('hex'));
  if (form === 'parquet') {
    if (isParquet) return { form };
    throw new LogError(`${file}: is not a Parquet file; name it after its form: ${USE}`);
  }
  if (isParquet) throw new LogError(`${file}: is a Parquet file; name it .parquet`);
  if (UTF16.some(begins)) {
    throw new LogError(`${file}: is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW`);
  }
  const packing = begins(PACKINGS.gz) ? 'gz' : begins(PACKINGS.xz) ? 'xz' : 'none';
  return { form, packing };
}

async function headOf(file: string): Promise<Buffer> {
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR')
      throw new LogError(`${file}: does not exist; check the path`);
    throw unreadable(file, error);
  });
  if (found.isDirectory()) throw new LogError(`${file}: is a folder; give one file`);
  if (!found.isFile()) throw new LogError(`${file}: is not a file on a disk; a log is read twice, so save it first`);
  if (found.size === 0) throw new LogError(`${file}: is empty; write it again`);
  const opened = await open(file).catch((error: NodeJS.ErrnoException) => {
    throw unreadable(file, error);
  });
  try {
    const { buffer, bytesRead } = await opened.read(Buffer.alloc(16), 0, 16, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await opened.close();
  }
}

function unreadable(file: string, { code }: NodeJS.ErrnoException): LogError {
  return new LogError(`${file}: cannot be read (${code}); check its permissions`);
}
