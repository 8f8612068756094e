import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openInteractionLog } from './interaction-log.js';
import { LogError } from './log-error.js';

// Both readers of logs read these files alike. training/data/test_log_cases.py runs them, too.
const FOLDER = fileURLToPath(new URL('../../../test/fixtures/interaction-logs/', import.meta.url));

interface Case {
  readonly file: string;
  readonly columns?: Record<string, string>;
  /** User, item, Unix ms, action and watch_ratio of each row. */
  readonly rows?: readonly (readonly [string, string, number, string, number | null])[];
  readonly repeated?: number;
  readonly error?: string;
}

const cases = JSON.parse(readFileSync(`${FOLDER}cases.json`, 'utf8')) as Case[];

describe('the files that both readers read alike', () => {
  const before = process.cwd();
  beforeAll(() => process.chdir(FOLDER)); // errors name the file as it is given
  afterAll(() => process.chdir(before));

  it('has a case for every file', () => {
    const files = readdirSync(FOLDER).filter((name) => name !== 'cases.json');
    expect(cases.map(({ file }) => file).sort()).toEqual(files.sort());
  });

  it.each(cases)('$file gives its rows or its error', async ({ file, columns = {}, rows, repeated = 0, error }) => {
    const opened = openInteractionLog({ file, columns, features: ['watch_ratio'] });
    if (error !== undefined) {
      const refused = await opened.catch((caught: unknown) => caught);
      expect(refused).toBeInstanceOf(LogError);
      expect((refused as LogError).message).toBe(error);
      return;
    }
    const log = await opened;
    const read = [];
    for await (const { userId, itemId, timestampMs, action, features } of log.rows()) {
      read.push([userId, itemId, timestampMs, action, features?.watch_ratio ?? null]);
    }
    expect(read).toEqual(rows);
    expect(log).toMatchObject({ rowCount: rows?.length, repeatedCount: repeated });
  });
});
