import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetMetadata } from 'hyparquet';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readInteractionLog } from './interaction-log.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-log-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function read(name: string, content: string | Buffer, columns: Record<string, string> = {}) {
  const file = join(dir, name);
  writeFileSync(file, content);
  const interactions = [];
  for await (const one of readInteractionLog({ file, columns, features: ['watch_ratio'] })) interactions.push(one);
  return interactions;
}

const wanted = { userId: 'u', itemId: 'a,b', timestampMs: 1e12, action: 'like', features: { watch_ratio: 0.5 } };

it.each([
  ['log.csv', 'user_id,item_id,timestamp_ms,action,watch_ratio\nu,"a,b",1000000000000,like,0.5\n'],
  ['log.csv', '\ufeffuser_id,item_id,timestamp_ms,action,watch_ratio\r\nu,"a,b",1000000000000,like,0.5\r\n\r\n'],
  ['log.tsv', 'user_id\tvideo_id\ttime_ms\taction\twatch_ratio\nu\ta,b\t1000000000000\tlike\t0.5'],
  ['log.jsonl', '{"userId":"u","itemId":"a,b","timestampMs":1000000000000,"action":"like","watch_ratio":0.5}\n'],
  ['log.csv.gz', gzipSync('user_id,item_id,timestamp_ms,action,watch_ratio\nu,"a,b",1000000000000,like,0.5\n')],
])('reads %s', async (name, content) => {
  expect(await read(name, content)).toMatchObject([wanted]);
});

it('names events by file and line, equally in every replay, unless the log has event ids', async () => {
  const content = 'user_id,item_id,timestamp_ms\nu,i,1e12\nu,i,1e12\n';
  const [first, second] = await read('log.csv', content);
  expect(first?.eventId).not.toBe(second?.eventId);
  expect((await read('log.csv', content)).map(({ eventId }) => eventId)).toEqual([first?.eventId, second?.eventId]);
  expect(await read('own.csv', 'event_id,user_id,item_id,timestamp_ms\nmine,u,i,1e12\n')).toMatchObject([
    { eventId: 'mine' },
  ]);
});

it('maps columns, and names a missing column, cell or number and its line', async () => {
  const content = 'who,what,when\nu,i,1e12\nu,,2e12\n';
  const columns = { user_id: 'who', item_id: 'what', timestamp_ms: 'when' };
  await expect(read('log.csv', content, columns)).rejects.toThrow(
    /log\.csv, line 3: what is empty; fill it in, or remove the line/,
  );
  await expect(read('log.csv', content)).rejects.toThrow(/line 2: no column timestamp_ms/);
  await expect(read('log.csv', 'user_id,thing,timestamp_ms\nu,i,1e12\n')).rejects.toThrow(
    /log\.csv, line 2: no column item_id; it has user_id, thing, timestamp_ms\. .* map it with --columns item_id=NAME/,
  );
  await expect(read('log.csv', 'user_id,item_id,timestamp_ms\nu,i,1e12,more\n')).rejects.toThrow(
    /log\.csv: .*line 2; give every line as many cells as the header/,
  );
  await expect(read('log.csv', 'user_id,item_id,timestamp_ms\nu,i,soon\n')).rejects.toThrow(/line 2: the timestamp/);
  await expect(read('log.csv', 'user_id,item_id,timestamp_ms\nu,i,1700000000\n')).rejects.toThrow(/are these seconds/);
  await expect(read('log.jsonl', '{"userId":"u"\n')).rejects.toThrow(/log\.jsonl, line 1: not a JSON object/);
});

it.each(['2', '0.5', 'yes'])('refuses the label %s as training does, and names its line', async (label) => {
  const rows = 'user_id,item_id,timestamp_ms,label\nu,i,1e12,\nu,i,1e12,1\nu,i,1e12,0.0\n';
  expect(await read('log.csv', rows)).toHaveLength(3);
  await expect(read('log.csv', `${rows}u,i,1e12,${label}\n`)).rejects.toThrow(
    `log.csv, line 5: the label ${label} is neither 0 nor 1; give 1 for the outcome to predict`,
  );
});

// training/data/log_file.py wrote fixtures/log.parquet, in row groups of 2. The file other-log.parquet has whole numbers
// as ids, and times in microseconds. Its columns are compressed with zstd, gzip and brotli.
const fixture = (name: string): Buffer => readFileSync(new URL(`../fixtures/${name}`, import.meta.url));

it('reads the Parquet files of training/import_log.py, and skips the features of empty cells', async () => {
  const rows = await read('log.parquet', fixture('log.parquet'));
  expect(rows).toMatchObject([
    { userId: 'u1', itemId: 'a,b', timestampMs: 1_700_000_000_123, action: 'like', features: { watch_ratio: 0.5 } },
    { userId: 'u2', itemId: 'ø', timestampMs: 1_700_000_000_001, action: '', features: { watch_ratio: 0.25 } },
    { userId: 'u1', itemId: 'b', timestampMs: 1_600_000_000_000, action: 'skip' },
  ]);
  expect(rows[2]?.features).toEqual({});
});

it('reads Parquet with other types, compressions and column names, and names a missing column and its row', async () => {
  const other = fixture('other-log.parquet');
  expect(await read('log.parquet', other)).toMatchObject([
    { userId: '7', itemId: '1', timestampMs: 1_700_000_000_123 },
    { userId: '8', itemId: '2', timestampMs: 1_700_000_000_123 },
  ]);
  await expect(read('log.parquet', other, { user_id: 'who' })).rejects.toThrow(
    /log\.parquet, row 1: no column who; it has user_id, video_id, time_ms/,
  );
});

it('reads one row group of Parquet at a time, and names the place where a file is damaged', async () => {
  const damaged = Buffer.from(fixture('log.parquet'));
  const { buffer, byteOffset, byteLength } = damaged;
  const second = parquetMetadata(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer).row_groups[1];
  const start = Number(second?.columns[0]?.meta_data?.dictionary_page_offset);
  damaged.fill(0xff, start, start + 20);
  const file = join(dir, 'log.parquet');
  writeFileSync(file, damaged);
  const rows = readInteractionLog({ file, columns: {}, features: [] });
  expect((await rows.next()).value).toMatchObject({ userId: 'u1' });
  expect((await rows.next()).value).toMatchObject({ userId: 'u2' });
  await expect(rows.next()).rejects.toThrow(/log\.parquet, after row 2: not a complete Parquet file/);
  await expect(read('cut.parquet', damaged.subarray(0, -9))).rejects.toThrow(
    /cut\.parquet, after row 0: not a complete Parquet file/,
  );
});
