import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openBackfillFiles } from './backfill-files.js';

let dir: string;
let warnings: string[];
beforeEach(() => {
  warnings = [];
  dir = mkdtempSync(join(tmpdir(), 'ckv-backfill-files-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const HEADER = 'event_id,user_id,item_id,timestamp_ms,w\n';
const write = (name: string, ...events: string[]): string => {
  const file = join(dir, name);
  writeFileSync(file, HEADER + events.map((eventId) => `${eventId},u,i,1e12,0.5\n`).join(''));
  return file;
};
const open = (files: string[], features: string[] = ['w'], onRows = (_: number) => {}) =>
  openBackfillFiles(files, { columns: {}, features, onRows, onWarning: (text) => warnings.push(text) });

it('gives the rows of all files, one file after the other, each time', async () => {
  const files = await open([write('b.csv', 'e2', 'e1'), write('a.csv', 'e3')]);
  expect(files.rowCount).toBe(3);
  for (let time = 0; time < 2; time++) {
    const events = [];
    for await (const { eventId, features } of files.rows()) events.push([eventId, features.w]);
    expect(events).toEqual(['e2', 'e1', 'e3'].map((eventId) => [eventId, 0.5]));
  }
});

it('has a digest of the content, its order and what is read of it, wherever the files are', async () => {
  const [one, two] = [write('one.csv', 'e1'), write('two.csv', 'e2')];
  const { digest } = await open([one, two]);
  expect((await open([write('three.csv', 'e1'), two])).digest).toBe(digest);
  const others = await Promise.all([open([two, one]), open([one]), open([one, two], [])]);
  expect(new Set([digest, ...others.map((other) => other.digest)]).size).toBe(4);
});

it('refuses a file that is given twice, whatever its name: its rows would count twice', async () => {
  const [one, copy] = [write('one.csv', 'e1'), write('copy.csv', 'e1')];
  await expect(open([one, write('two.csv', 'e2'), copy])).rejects.toMatchObject({
    reason: 'invalid_request',
    field: '--log',
  });
});

it('reads every file before the first row, and names the file that cannot be read', async () => {
  const bad = join(dir, 'bad.csv');
  writeFileSync(bad, `${HEADER}e,u,i,soon,\n`);
  await expect(open([write('good.csv', 'e1'), bad])).rejects.toThrow(/bad\.csv, line 2/);
});

it('warns of rows without event ids: they would not be recognised in the event log', async () => {
  const [none, some] = [join(dir, 'none.csv'), join(dir, 'some.csv')];
  writeFileSync(none, 'user_id,item_id,timestamp_ms,w\nu,i,1e12,0.5\n');
  writeFileSync(some, `${HEADER},u,i,1e12,0.5\ne1,u,i,1e12,0.5\n`);
  await open([none, some, write('all.csv', 'e1', 'e2')]);
  expect(warnings).toEqual([
    expect.stringMatching(/none\.csv has no event ids; .*counts twice/),
    expect.stringMatching(/some\.csv has 1 rows without event id; .*counts twice/),
  ]);
});
