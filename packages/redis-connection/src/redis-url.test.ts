import { CkvError } from '@collectivekv/domain';
import { describe, expect, it } from 'vitest';
import { parseRedisUrl } from './redis-url.js';

describe('parseRedisUrl', () => {
  it.each([
    ['redis://localhost', { kind: 'single', nodes: [{ host: 'localhost', port: 6379 }], tls: false, db: 0 }],
    ['rediss://me:p%40ss@r.example:7000/3', { kind: 'single', tls: true, username: 'me', password: 'p@ss', db: 3 }],
    ['redis://secret@a', { username: '', password: 'secret' }],
    ['redis://me:@a:65535', { username: 'me', password: '', nodes: [{ host: 'a', port: 65_535 }] }],
    ['redis+cluster://a/0', { kind: 'cluster', db: 0, nodes: [{ host: 'a', port: 6379 }], primaryName: '' }],
    ['rediss+cluster://a', { kind: 'cluster', tls: true }],
    ['rediss+sentinel://a/main', { kind: 'sentinel', tls: true, db: 0, primaryName: 'main' }],
    ['redis://:secret@[::1]:1', { nodes: [{ host: '::1', port: 1 }], username: '', password: 'secret' }],
    [
      'redis+cluster://a:1,b:2',
      {
        kind: 'cluster',
        nodes: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
    [
      'redis+sentinel://a,b:2/main/4',
      {
        kind: 'sentinel',
        primaryName: 'main',
        db: 4,
        nodes: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 2 },
        ],
      },
    ],
  ])('reads %s', (url, expected) => {
    expect(parseRedisUrl(url, 'CKV_REDIS_URL')).toMatchObject(expected);
  });

  const notUrl = 'is not a Redis URL; use redis://, rediss://, redis+cluster://,';
  const badDb = 'has a bad database number; ';
  const rawCharacters = 'has a user or password with @ or /; write them percent-encoded, @ as %40, / as %2F';
  const badNode = 'has a bad host or port; write host:port';
  it.each([
    ['', notUrl],
    ['http://a', notUrl],
    ['constructor://a', notUrl],
    ['redis://', notUrl],
    ['redis://a?b', notUrl],
    ['redis://a:0', badNode],
    ['redis://a:65536', badNode],
    ['redis://a:99999', badNode],
    ['redis://a:x', badNode],
    ['redis://[::1', badNode],
    ['redis+cluster://a,', badNode],
    ['redis+cluster://a,b:0', badNode],
    ['redis://a/x', badDb],
    ['redis://a/-1', badDb],
    ['redis://a/1.5', badDb],
    ['redis://a/1/2', badDb],
    ['redis+cluster://a/1', badDb],
    ['redis+sentinel://a/main/1/2', badDb],
    ['redis+sentinel://a', "lacks the primary's name; end it with /name"],
    ['redis://:p@ss@host', rawCharacters],
    ['redis://me@home:pass@host:1/0', rawCharacters],
    ['redis://:ab/cd+ef==@127.0.0.1:6379', rawCharacters],
    ['redis://me:ab/12@host', rawCharacters],
    ['rediss+cluster://:x@y@a:1,b:2', rawCharacters],
    ['redis+sentinel://:x/y@a:1/main/4', rawCharacters],
    ['redis://u:p%ZZ@a', 'has a user or password with a bad % escape; write % as %25'],
    ['redis://%ZZ:p@a', 'has a user or password with a bad % escape; write % as %25'],
  ])('refuses %j and names the variable, the problem and the remedy', (url, problem) => {
    expect(() => parseRedisUrl(url, 'CKV_REDIS_URL')).toThrow(
      expect.objectContaining({
        reason: 'invalid_request',
        field: 'CKV_REDIS_URL',
        message: expect.stringContaining(`CKV_REDIS_URL: ${problem}`),
      }),
    );
  });

  it.each([
    'redis://me:hunter2@a:0',
    'redis://:x@hunter2@a',
    'redis://:hunter2/x@a',
    'redis://:x/hunter2@a',
    'hunter2@a',
  ])('keeps the password of %s out of the error', (url) => {
    try {
      parseRedisUrl(url, 'CKV_REDIS_URL');
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(CkvError);
      expect(String(error)).not.toContain('hunter2');
    }
  });

  it('reads a password with every special character, percent-encoded', () => {
    const password = 'a@b/c:d%e?f#g=';
    const url = `redis://:${encodeURIComponent(password)}@host/2`;
    expect(parseRedisUrl(url, 'CKV_REDIS_URL')).toMatchObject({
      password,
      nodes: [{ host: 'host', port: 6379 }],
      db: 2,
    });
  });
});
