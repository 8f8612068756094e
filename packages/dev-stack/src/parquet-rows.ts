import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/**
 * The rows of a Parquet file in its order, one row group in memory at a time. 64-bit integers come as bigint, times as
 * Date, missing cells as null or undefined.
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
    throw new Error(`${file}, after row ${rowStart}: is no whole Parquet file (${why}); write it again`, {
      cause: error,
    });
  }
}
