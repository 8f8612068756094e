import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { rename, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { invalidRequest } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FileOutcome, type Followed, followFiles } from './follow-files.js';

let dir: string;
let path: string;
let outcomes: FileOutcome[];
let followed: Followed<string>;

/** Follows a file whose content is a text without `!`. */
function follow(lookEveryMs = 10): Followed<string> {
  followed = followFiles({
    files: [{ field: 'CKV_THING_FILE', path }],
    parse([content]) {
      const text = String(content);
      if (text.includes('!')) throw invalidRequest('CKV_THING_FILE', 'has a !', 'remove it');
      return text;
    },
    onOutcome: (outcome) => outcomes.push(outcome),
    lookEveryMs,
  });
  return followed;
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-follow-'));
  path = join(dir, 'thing');
  outcomes = [];
});
afterEach(() => {
  vi.useRealTimers();
  followed?.close();
  rmSync(dir, { recursive: true, force: true });
});

it('gives the content of a file, and its new content after a change', async () => {
  writeFileSync(path, 'old');
  const changes: string[] = [];
  follow().onChange(() => changes.push(followed.current));
  expect(followed.current).toBe('old');
  writeFileSync(path, 'new');
  await expect.poll(() => followed.current, { timeout: 20_000 }).toBe('new');
  expect(changes).toEqual(['new']);
  expect(outcomes).toMatchObject([{ field: 'CKV_THING_FILE', problem: undefined }]);
});

/** Makes a pipe in the folder. Nobody writes into it. */
function makePipe(): string {
  const pipe = join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  return pipe;
}

const OTHER_KINDS: [string, () => string, string][] = [
  ['a pipe', makePipe, 'is a pipe, not a file, which can be read again; write the content into a file'],
  ['a device', () => '/dev/zero', 'is a device or a socket, not a file, which can be read again; write the content'],
  ['a folder', () => dir, 'is a folder, not a file, which can be read again; write the content into a file'],
  ['a large file', largeFile, 'has more than 1 MiB; name a file that holds a secret, certificates or tokens alone'],
];

function largeFile(): string {
  writeFileSync(join(dir, 'large'), Buffer.alloc(1024 * 1024 + 1));
  return join(dir, 'large');
}

describe.skipIf(process.platform === 'win32').each(OTHER_KINDS)('%s in the place of a file', (_, make, text) => {
  it('is refused at the start, with the remedy', () => {
    path = make();
    expect(() => follow()).toThrow(`CKV_THING_FILE: ${path} ${text}`);
  });

  it('is a problem later, which ends with the next file', async () => {
    writeFileSync(path, 'old');
    follow();
    symlinkSync(make(), join(dir, 'link'));
    renameSync(join(dir, 'link'), path);
    await expect.poll(() => outcomes.at(-1)?.problem?.message, { timeout: 20_000 }).toContain(text);
    expect(followed.current).toBe('old');
    writeFileSync(join(dir, 'next'), 'new');
    renameSync(join(dir, 'next'), path);
    await expect.poll(() => followed.current, { timeout: 20_000 }).toBe('new');
  });
});

it.each<[string, () => unknown]>([
  ['throws', failing],
  ['rejects', async () => failing()],
])('goes on if the function that is told of outcomes %s, and warns', async (_, fail) => {
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => warnings.push(message);
  process.on('warning', onWarning);
  writeFileSync(path, 'old');
  followed = followFiles({
    files: [{ field: 'f', path }],
    parse: String,
    onOutcome: () => fail() as undefined,
    lookEveryMs: 10,
  });
  for (const content of ['new', 'newer']) {
    writeFileSync(path, content);
    await expect.poll(() => followed.current, { timeout: 20_000 }).toBe(content);
  }
  await expect.poll(() => warnings.length, { timeout: 20_000 }).toBeGreaterThan(1);
  expect(warnings[0]).toBe('a function that is told about changed files failed: Error: its own');
  process.off('warning', onWarning);
});

it('uses new content although a listener fails, tells the other listeners, and warns', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
  writeFileSync(path, 'old');
  const changes: string[] = [];
  follow().onChange(failing);
  followed.onChange(() => changes.push(followed.current));
  writeFileSync(path, 'new');
  await expect.poll(() => outcomes, { timeout: 20_000 }).toHaveLength(1);
  expect(outcomes[0]?.problem).toBeUndefined();
  expect(changes).toEqual(['new']);
  expect(warned).toHaveBeenCalledOnce();
  warned.mockRestore();
});

function failing(): never {
  throw new Error('its own');
}

it('gives each reader of a file an identity of its own', async () => {
  writeFileSync(path, 'old');
  const other = follow();
  follow();
  writeFileSync(path, 'new');
  await expect.poll(() => new Set(outcomes.map(({ reader }) => reader)).size, { timeout: 20_000 }).toBe(2);
  other.close();
});

it('sees a change of a mounted secret of Kubernetes: a link to another folder', async () => {
  const version = (name: string) => {
    const folder = mkdtempSync(join(dir, name));
    writeFileSync(join(folder, 'thing'), name);
    return folder;
  };
  symlinkSync(version('v1'), join(dir, '..data'));
  symlinkSync(join('..data', 'thing'), path);
  expect(follow().current).toBe('v1');
  await symlink(version('v2'), join(dir, '..data_tmp'));
  await rename(join(dir, '..data_tmp'), join(dir, '..data'));
  await expect.poll(() => followed.current, { timeout: 20_000 }).toBe('v2');
});

it('keeps the former content while the new one is wrong, and reports the problem once', async () => {
  writeFileSync(path, 'old');
  follow();
  writeFileSync(path, 'wrong!');
  await expect.poll(() => outcomes, { timeout: 20_000 }).toHaveLength(1);
  expect(outcomes[0]?.problem).toMatchObject({ reason: 'invalid_request', field: 'CKV_THING_FILE' });
  expect(followed.current).toBe('old');
  rmSync(path);
  await expect.poll(() => outcomes, { timeout: 20_000 }).toHaveLength(2);
  expect(outcomes[1]?.problem?.message).toBe(
    `CKV_THING_FILE: ${path} cannot be read (ENOENT); name a file that this process may read`,
  );
  expect(followed.current).toBe('old');
  writeFileSync(path, 'old');
  await expect.poll(() => outcomes, { timeout: 20_000 }).toHaveLength(3);
  expect(outcomes[2]?.problem).toBeUndefined();
});

it('does not use content that only one look found: the file may be half written', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  writeFileSync(path, 'old');
  const parsed = vi.fn(String);
  const own = followFiles({ files: [{ field: 'f', path }], parse: ([content]) => parsed(content), lookEveryMs: 1_000 });
  for (let part = 0; part < 50; part++) {
    writeFileSync(`${path}.next`, `part ${part}`);
    renameSync(`${path}.next`, path);
    vi.advanceTimersByTime(1_000); // one look at most finds this content
    await new Promise((resolve) => setImmediate(resolve));
  }
  own.close();
  expect(parsed.mock.calls.map(([content]) => String(content))).toEqual(['old']);
  expect(own.current).toBe('old');
});

it('refuses a file that cannot be read at the start', () => {
  expect(() => follow()).toThrow(`CKV_THING_FILE: ${path} cannot be read (ENOENT)`);
});
