import { CkvError } from '@collectivekv/domain';
import { describe, expect, it } from 'vitest';
import { parseRedisUrl } from './redis-url.js';

describe('parseRedisUrl', () => {
  it.each([
    ['redis://localhost', { kind: 'single', nodes: [{ host: 'localhost', port: 6379 }], tls: false, db: 0 }],
    ['rediss://me:p%40ss@r.example:7000/3', { kind: 'single', tls: true, username: 'me', password: 'p@ss', db: 3 }],
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

  it.each([
    '',
    'http://a',
    'redis://',
    'redis://a:99999',
    'redis://a/x',
    'redis+cluster://a/1',
    'redis+sentinel://a',
    'redis://a/1/2',
    'redis://u:p%ZZ@a',
  ])('refuses %j and names the variable', (url) => {
    expect(() => parseRedisUrl(url, 'CKV_REDIS_URL')).toThrow(/^CKV_REDIS_URL: /);
  });

  it('keeps the password out of the error', () => {
    try {
      parseRedisUrl('redis://me:hunter2@a:0', 'CKV_REDIS_URL');
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(CkvError);
      expect(String(error)).not.toContain('hunter2');
    }
  });
});
