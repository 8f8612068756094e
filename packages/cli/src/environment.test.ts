import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readToken, readUseProxy, unsetEmpty } from './environment.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ckv-token-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('unsetEmpty', () => {
  it('deletes the empty variables of this system, and no others', () => {
    const env = { CKV_POOL_TARGET: '', CKV_KEY_PREFIX: 'x', OTHER: '' };
    unsetEmpty(env);
    expect(env).toEqual({ CKV_KEY_PREFIX: 'x', OTHER: '' });
  });
});

describe('readToken', () => {
  it('prefers the variable, then the file', async () => {
    const file = join(dir, 'token');
    await writeFile(file, 'from-the-file\n');
    expect(readToken({ CKV_TOKEN: 'own', CKV_TOKEN_FILE: file })).toBe('own');
    expect(readToken({ CKV_TOKEN: '', CKV_TOKEN_FILE: file })).toBe('from-the-file');
    expect(readToken({ CKV_TOKEN: '', CKV_TOKEN_FILE: '' })).toBe('');
  });

  it('names the variable of a file that cannot be read, and the remedy', () => {
    const path = join(dir, 'missing');
    expect(() => readToken({ CKV_TOKEN_FILE: path })).toThrow(
      `CKV_TOKEN_FILE: ${path} cannot be read (ENOENT); name a file that holds the token`,
    );
  });
});

describe('readUseProxy', () => {
  it.each([
    [undefined, false],
    ['', false],
    ['false', false],
    ['true', true],
  ])('reads %j as %s', (text, expected) => {
    expect(readUseProxy(text === undefined ? {} : { CKV_USE_PROXY: text })).toBe(expected);
  });

  it('refuses another text, and names the variable', () => {
    expect(() => readUseProxy({ CKV_USE_PROXY: 'maybe' })).toThrow('CKV_USE_PROXY: "maybe" is neither true nor false');
  });
});
