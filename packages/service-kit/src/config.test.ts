import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { requireSafeBind } from './bind.js';
import { commonConfig, parseConfig } from './config.js';
import { isLoopback } from './loopback.js';
import { shareConfig } from './share-config.js';
import { targetConfig } from './target-config.js';

const schema = z.object({ ...commonConfig({ port: 1234 }), CKV_COUNT: z.coerce.number().int().min(1).default(3) });

describe('parseConfig', () => {
  it('fills defaults, treats empty as unset, and freezes', () => {
    const config = parseConfig(schema, { CKV_COUNT: '' });
    expect(config).toMatchObject({
      CKV_BIND: '127.0.0.1:1234',
      CKV_TOKEN: '',
      CKV_COUNT: 3,
      CKV_ALLOW_INSECURE: false,
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('reports every problem at once, each with its variable', () => {
    const env = { CKV_BIND: 'nowhere', CKV_COUNT: '0', CKV_TOKEN: 'short', CKV_LOG_LEVEL: 'loud' };
    expect(() => parseConfig(schema, env)).toThrow(
      /4 problems[\s\S]*CKV_BIND[\s\S]*CKV_TOKEN[\s\S]*CKV_LOG_LEVEL[\s\S]*CKV_COUNT/,
    );
  });

  it('reports an unsafe address together with invalid values', () => {
    expect(() => parseConfig(schema, { CKV_BIND: '0.0.0.0:1', CKV_COUNT: 'many' })).toThrow(
      /2 problems[\s\S]*CKV_COUNT: "many" is not a whole number of at least 1[\s\S]*CKV_BIND: 0\.0\.0\.0:1 is beyond loopback/,
    );
  });

  it.each([
    ['a list of tokens', { CKV_TOKENS_FILE: '/tokens' }],
    ['client certificates', { CKV_TLS_CLIENT_CA_FILE: '/ca' }],
  ])('takes an address beyond loopback that %s guards', (_, guard) => {
    expect(parseConfig(schema, { CKV_BIND: '0.0.0.0:1', ...guard })).toMatchObject(guard);
  });

  it('refuses an address beyond loopback with TLS alone, which lets everybody in', () => {
    const env = { CKV_BIND: '0.0.0.0:1', CKV_TLS_CERT_FILE: '/cert', CKV_TLS_KEY_FILE: '/key' };
    expect(() => parseConfig(schema, env)).toThrow(
      /CKV_BIND: 0\.0\.0\.0:1 is beyond loopback and nothing there asks who calls; set CKV_TOKENS_FILE, CKV_TOKEN or CKV_TLS_CLIENT_CA_FILE/,
    );
  });

  it('takes CKV_TOKEN before CKV_TOKEN_FILE', () => {
    const env = { CKV_TOKEN: 'a-token-of-24-characters', CKV_TOKEN_FILE: '/nowhere' };
    expect(parseConfig(schema, env)).toMatchObject({ CKV_TOKEN: env.CKV_TOKEN, CKV_TOKEN_FILE: '' });
  });

  it('reads a secret from a file, and reports a file that it cannot read', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'ckv-config-')), 'token');
    writeFileSync(file, 'a-token-of-24-characters\n');
    expect(parseConfig(schema, { CKV_TOKEN_FILE: file }).CKV_TOKEN).toBe('a-token-of-24-characters');
    expect(() => parseConfig(schema, { CKV_TOKEN_FILE: '/nowhere' })).toThrow(
      /CKV_TOKEN_FILE: \/nowhere cannot be read/,
    );
  });

  it('names an empty file of a value, and what to do', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'ckv-config-')), 'token');
    writeFileSync(file, '\n');
    expect(() => parseConfig(schema, { CKV_TOKEN_FILE: file })).toThrow(
      /1 problem:\n {2}CKV_TOKEN_FILE: its file is empty; write the value of CKV_TOKEN into it, or unset it/,
    );
  });

  it.runIf(existsSync('/dev/zero'))('does not read a secret without end', () => {
    expect(() => parseConfig(schema, { CKV_TOKEN_FILE: '/dev/zero' })).toThrow(
      /CKV_TOKEN_FILE: \/dev\/zero is a device or a socket, not a file, which can be read again; write the content into/,
    );
  });
});

it.each([
  [{ CKV_BIND: '127.0.0.1:70000' }, /CKV_BIND: must be host:port, with a port up to 65535/],
  [{ CKV_TOKEN: 'sixteen-and-ünïcode' }, /CKV_TOKEN: must be printable ASCII/],
  [{ CKV_COUNT: '0' }, /CKV_COUNT: "0" is not a whole number of at least 1; set such a value, or unset it/],
  [{ CKV_GRACE_MS: '-1' }, /CKV_GRACE_MS: "-1" is not a whole number from 0 to 600000; set such/],
  [{ CKV_GRACE_MS: '600001' }, /CKV_GRACE_MS: "600001" is not a whole number from 0 to 600000; set such/],
  [{ CKV_GRACE_MS: '1.5' }, /CKV_GRACE_MS: "1\.5" is not a whole number from 0 to 600000; set such/],
  [{ CKV_GRACE_MS: '1e400' }, /CKV_GRACE_MS: "1e400" is not a whole number from 0 to 600000; set such/],
  [{ CKV_COUNT: '1e20' }, /CKV_COUNT: "1e20" is not a whole number of at least 1; set such/],
  [{ CKV_LOG_LEVEL: 'loud' }, /CKV_LOG_LEVEL: "loud" is not one of debug, info, warn, error, silent; set such/],
  [{ CKV_USE_PROXY: 'maybe' }, /CKV_USE_PROXY: "maybe" is not true or false; set such/],
])('refuses %j', (env, message) => {
  expect(() => parseConfig(schema, env)).toThrow(message);
});

describe('a share', () => {
  const withShare = z.object({ CKV_SHARE: shareConfig({ fallback: 0.95, means: 'a share' }) });

  it.each([
    [{}, 0.95],
    [{ CKV_SHARE: '80%' }, 0.8],
    [{ CKV_SHARE: '0.8' }, 0.8],
    [{ CKV_SHARE: '0' }, 0],
  ])('is read from %j', (env, share) => {
    expect(parseConfig(withShare, env)).toEqual({ CKV_SHARE: share });
  });

  it.each(['1', '80', '101%', '1.5', 'most'])('is not %s', (text) => {
    expect(() => parseConfig(withShare, { CKV_SHARE: text })).toThrow(/CKV_SHARE: must be a percentage such as 80%/);
  });
});

it('refuses the target of a service without a port', () => {
  const withTarget = z.object({ CKV_POOL_TARGET: targetConfig({ port: 50051, means: 'the pool' }) });
  expect(parseConfig(withTarget, {})).toEqual({ CKV_POOL_TARGET: '127.0.0.1:50051' });
  expect(() => parseConfig(withTarget, { CKV_POOL_TARGET: 'http://pool:50051' })).toThrow(
    /CKV_POOL_TARGET: is a URL, "http:\/\/pool:50051"; write HOST:PORT alone, such as pool:50051/,
  );
});

describe('requireSafeBind', () => {
  it('accepts loopback, and addresses beyond it only if they are guarded', () => {
    expect(['127.0.0.1:1', 'localhost:1', '[::1]:1', '127.8.8.8:1'].every(isLoopback)).toBe(true);
    const safe = (bind: string, guarded: boolean) => () =>
      requireSafeBind({ variable: 'CKV_BIND', bind, guarded, remedy: 'guard it' });
    expect(safe('0.0.0.0:1', false)).toThrow(/CKV_BIND: 0\.0\.0\.0:1 is beyond loopback .*; guard it/);
    expect(safe('127.0.0.1.evil.example:1', false)).toThrow(/beyond loopback/);
    expect(safe('0.0.0.0:1', true)).not.toThrow();
  });
});
