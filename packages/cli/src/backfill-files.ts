import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type Interaction, invalidRequest } from '@collectivekv/domain';
import { type ColumnMap, type InteractionLog, openInteractionLog } from '@collectivekv/interaction-log';

/** Interaction logs, one after the other. */
export interface BackfillFiles {
  /** Digest of the content of all files, in order, and of what is read of them. */
  readonly digest: string;
  readonly rowCount: number;
  /** The files as they were named, in order. */
  readonly names: readonly string[];
  /** Digest of the content of each file, in order. */
  readonly fileDigests: readonly string[];
  /** Yields the rows of all files in order. Reads the files again. */
  rows(): AsyncGenerator<Interaction>;
}

/**
 * Reads and checks every file.
 * @param features names of the bundle's interaction features
 * @param onRows receives the number of rows that were checked, from time to time
 * @param onWarning receives what may be wrong with the files
 * @throws LogError with the problems of the first file that has some; invalid_request if two files have the same rows
 */
export async function openBackfillFiles(
  files: readonly string[],
  options: {
    readonly columns: ColumnMap;
    readonly features: readonly string[];
    readonly onRows: (count: number) => void;
    readonly onWarning: (text: string) => void;
  },
): Promise<BackfillFiles> {
  const { columns, features, onRows, onWarning } = options;
  const hash = createHash('sha256').update(JSON.stringify([features, Object.entries(columns).sort()]));
  const logs: InteractionLog[] = [];
  const fileOf = new Map<string, string>();
  let rowCount = 0;
  for (const file of files) {
    const before = rowCount;
    const log = await openInteractionLog({ file, columns, features, onRows: (count) => onRows(before + count) });
    const digest = await digestOf(file);
    const twin = fileOf.get(digest);
    if (twin !== undefined) {
      throw invalidRequest('--log', `has ${file} and ${twin}, which are the same`, 'name each file once');
    }
    fileOf.set(digest, file);
    hash.update(digest);
    if (log.unnamedCount > 0) onWarning(unnamedText(file, log));
    logs.push(log);
    rowCount += log.rowCount;
  }
  return {
    digest: hash.digest('hex').slice(0, 32),
    rowCount,
    names: files,
    fileDigests: [...fileOf.keys()].map((digest) => digest.slice(0, 12)),
    async *rows() {
      for (const log of logs) yield* log.rows();
    },
  };
}

function unnamedText(file: string, { unnamedCount, rowCount }: InteractionLog): string {
  const rows =
    unnamedCount === rowCount ? 'no event ids' : `${unnamedCount.toLocaleString('en')} rows without event id`;
  return `--log: ${file} has ${rows}; such an interaction counts twice if it was recorded after "ckv backfill start"`;
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
