import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/**
 * Yields the rows of a Parquet file in order, with one row group in memory at a time. A 64-bit integer is a bigint, a time
 * is a Date, and a missing cell is null or undefined.
 * @throws Error naming the file and the row
 */
export async function* parquetRows(file: string): AsyncGenerator<Record<string, unknown>> {
  let rowStart = 0;
  try {
    const buffer = await asyncBufferFromFile(file);
    const metadata = await parquetMetadataAsync(buffer);
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      yield* await parquetReadObjects({ file: buffer, metadata, compressors, rowStart, rowEnd });
      rowStart = rowEnd;
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${file}, after row ${rowStart}: not a complete Parquet file (${why}); write the file again`, {
      cause: error,
    });
  }
}
