import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, gunzipSync, gzipSync } from 'node:zlib';
import { parquetMetadata } from 'hyparquet';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type LogOptions, openInteractionLog } from './interaction-log.js';
import { LogError } from './log-error.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-log-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function read(name: string, content: string | Buffer, options: Partial<LogOptions> = {}) {
  const file = join(dir, name);
  writeFileSync(file, content);
  const log = await openInteractionLog({ file, columns: {}, features: ['watch_ratio'], ...options });
  const interactions = [];
  for await (const one of log.rows()) interactions.push(one);
  return interactions;
}

const HEADER = 'user_id,item_id,timestamp_ms\n';
const rowsOf = (count: number, rowOf: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => rowOf(i)).join('');

it('names events by file and line, equally in every replay, unless the log has event ids', async () => {
  const content = `${HEADER}u,i,1e12\nu,i,1e12\n`;
  const [first, second] = await read('log.csv', content);
  expect(first?.eventId).not.toBe(second?.eventId);
  expect((await read('log.csv', content)).map(({ eventId }) => eventId)).toEqual([first?.eventId, second?.eventId]);
  expect(await read('own.csv', 'event_id,user_id,item_id,timestamp_ms\nmine,u,i,1e12\n,u,i,1e12\n')).toMatchObject([
    { eventId: 'mine' },
    { eventId: expect.stringMatching(/^[0-9a-f]{8}-3$/) },
  ]);
});

it.each([
  ['log.csv', 'user_id,item_id,timestamp_ms,constructor\nu,i,1e12,0.5\n'],
  ['log.jsonl', '{"user_id":"u","item_id":"i","timestamp_ms":1e12,"constructor":0.5}\n'],
])('reads a feature that has the name of a member of every object: %s', async (name, content) => {
  expect(await read(name, content, { features: ['constructor'] })).toMatchObject([{ features: { constructor: 0.5 } }]);
});

it('gives problems their lines, wherever the file is cut into chunks', async () => {
  const bad = new Map([
    [7, 'u,i\n'],
    [20_000, 'u"x,i,1e12\n'],
    [39_999, '# no\n'],
    [40_000, `${'ü'.repeat(129)},i,soon\n`],
  ]);
  const text = HEADER + rowsOf(60_000, (i) => bad.get(i) ?? `user ${i},item ${i},${1e12 + i}\n`);
  for (const content of [text, gzipSync(text)]) {
    const refused = await read('log.csv', content).catch((error: Error) => error.message);
    const places = String(refused).split('\n').slice(1, -1);
    expect(places.map((line) => line.split(':')[0]?.trim())).toEqual([
      'line 9',
      'line 20002',
      'line 40001',
      'line 40002, column user_id',
      'line 40002, column timestamp_ms',
    ]);
  }
});

it('names the last whole line of gz that is cut anywhere, and never reads it as complete', async () => {
  const packed = gzipSync(HEADER + rowsOf(300, (i) => `u${i * i},i${i},${1e12 + i * i}\n`));
  for (let size = 20; size < packed.length; size += 19) {
    const cut = packed.subarray(0, size);
    const lines = gunzipSync(cut, { finishFlush: constants.Z_SYNC_FLUSH }).toString().split('\n').length - 1;
    await expect(read('log.csv.gz', cut)).rejects.toThrow(`is cut short after line ${lines}; fetch or pack it again`);
  }
});

it('refuses a line of more than a mebibyte, and no shorter line', async () => {
  const row = 'u,i,1e12\n';
  await expect(read('log.csv', `${HEADER}${row}${'u'.repeat(2 ** 20 + 1)}\n${row}`)).rejects.toThrow(
    /log\.csv, line 3: has more than 1,048,576 bytes/,
  );
  await expect(read('log.csv', `${HEADER}${row}${'u'.repeat(2 ** 20)}\n${row}`)).rejects.toThrow(
    /line 3: has 1 cell, but the header has 3/,
  );
});

it('leaves out the rows that repeat an earlier event of their user, among very many', async () => {
  const header = 'event_id,user_id,item_id,timestamp_ms\n';
  const rows = rowsOf(30_000, (i) => `${i % 100},u${Math.floor(i / 100)},i${i},${1e12 + i}\n`);
  const again = rowsOf(50, (i) => `${i},u7,i${700 + i},${1e12 + 700 + i}\n`);
  expect(await read('log.csv', header + rows)).toHaveLength(30_000);
  expect(await read('log.csv', header + rows + again)).toHaveLength(30_000);
  await expect(read('log.csv', `${header}${rows}${again}99,u299,i1,1e12\n`)).rejects.toThrow(
    'line 30052, column event_id: is "99", as in line 30001 of the same user with other content; give each event',
  );
});

it('tells how many rows it has read', async () => {
  const counts: number[] = [];
  await read('log.csv', HEADER + 'u,i,1e12\n'.repeat(50_000), { onRows: (count) => counts.push(count) });
  expect(counts.length).toBeGreaterThan(1);
  expect(counts.at(-1)).toBe(50_000);
});

it('fails if the file changes between the check and the replay', async () => {
  const file = join(dir, 'log.csv');
  writeFileSync(file, `${HEADER}u,i,1e12\n`);
  const log = await openInteractionLog({ file, columns: {}, features: [] });
  writeFileSync(file, `${HEADER}u,i,soon\n`);
  await expect(log.rows().next()).rejects.toThrow(/line 2, column timestamp_ms: is "soon", not a number/);
});

it('refuses what is not a file, with a remedy', async () => {
  mkdirSync(join(dir, 'folder.csv'));
  const opened = (name: string) => openInteractionLog({ file: join(dir, name), columns: {}, features: [] });
  await expect(opened('folder.csv')).rejects.toThrow(/folder\.csv: is a folder; give one file/);
  await expect(opened('none.csv')).rejects.toThrow(/none\.csv: does not exist; check the path/);
  await expect(opened('none.csv')).rejects.toBeInstanceOf(LogError);
});

// training/data/log_file.py wrote fixtures/log.parquet, in row groups of 2. The file other-log.parquet has whole
// numbers as ids, and times in microseconds. Its columns are compressed with zstd, gzip and brotli.
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

it('reads Parquet with other types, compressions and column names', async () => {
  const other = fixture('other-log.parquet');
  expect(await read('log.parquet', other)).toMatchObject([
    { userId: '7', itemId: '1', timestampMs: 1_700_000_000_123 },
    { userId: '8', itemId: '2', timestampMs: 1_700_000_000_123 },
  ]);
  await expect(read('log.parquet', other, { columns: { user_id: 'who' } })).rejects.toThrow(
    /log\.parquet: has no column who; it has user_id, video_id, time_ms/,
  );
});

it('names the row group in which a Parquet file is damaged', async () => {
  const damaged = Buffer.from(fixture('log.parquet'));
  const { buffer, byteOffset, byteLength } = damaged;
  const second = parquetMetadata(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer).row_groups[1];
  const start = Number(second?.columns[0]?.meta_data?.dictionary_page_offset);
  damaged.fill(0xff, start, start + 20);
  await expect(read('log.parquet', damaged)).rejects.toThrow(/log\.parquet: is cut short or damaged after row 2/);
});
