import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { queueRedisOf } from './queue-redis.js';

const dir = mkdtempSync(join(tmpdir(), 'ckv-queue-redis-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

const STARTED = { redisUrl: 'redis://started', keyPrefix: 'own', targets: { pool: 'a:1', 'user-cache': 'a:2' } };
const NAMES = /--queue-redis: is required, .* or set CKV_QUEUE_REDIS_URL or CKV_QUEUE_REDIS_URL_FILE$/;

it('takes no Redis that nobody named', () => {
  expect(() => queueRedisOf({}, {}, {})).toThrow(NAMES);
});

it('takes the Redis and the keys of npm start', () => {
  expect(queueRedisOf({}, {}, STARTED)).toEqual({ url: 'redis://started', keyPrefix: 'own' });
  expect(queueRedisOf({ pool: 'a:1' }, {}, STARTED)).toEqual({ url: 'redis://started', keyPrefix: 'own' });
  expect(queueRedisOf({ keyPrefix: 'x' }, {}, STARTED)).toEqual({ url: 'redis://started', keyPrefix: 'x' });
  expect(queueRedisOf({ queueRedis: 'redis://started' }, {}, STARTED).keyPrefix).toBe('own');
});

it('takes neither the Redis nor the keys of npm start for another system', () => {
  for (const given of [{ pool: 'b:1' }, { userCache: 'a:1' }, { ranking: 'a:3' }, { updater: 'a:4' }]) {
    expect(() => queueRedisOf(given, {}, STARTED), JSON.stringify(given)).toThrow(NAMES);
  }
  const url = 'redis://other';
  expect(queueRedisOf({ pool: 'b:1', queueRedis: url }, {}, STARTED)).toEqual({ url, keyPrefix: 'ckv' });
});

it('reads the URL and the prefix from files, as services do; a value comes before its file', () => {
  const env = {
    CKV_QUEUE_REDIS_URL_FILE: file('url', 'redis://secret\n'),
    CKV_KEY_PREFIX_FILE: file('prefix', 'mine\n'),
  };
  expect(queueRedisOf({}, env, STARTED)).toEqual({ url: 'redis://secret', keyPrefix: 'mine' });
  expect(queueRedisOf({ queueRedis: 'redis://typed' }, env, STARTED).url).toBe('redis://typed');
  expect(() => queueRedisOf({}, { CKV_QUEUE_REDIS_URL_FILE: join(dir, 'none') }, STARTED)).toThrow(
    /^CKV_QUEUE_REDIS_URL_FILE: .*none cannot be read \(ENOENT\)/,
  );
  expect(() => queueRedisOf({}, { CKV_QUEUE_REDIS_URL_FILE: file('empty', '\n') }, STARTED)).toThrow(
    /^CKV_QUEUE_REDIS_URL_FILE: .*empty is empty; write the value of CKV_QUEUE_REDIS_URL into it, or unset it/,
  );
});

// Each command is a process, which takes seconds on a busy machine.
it.each<[string[], NodeJS.ProcessEnv, RegExp]>([
  [['queue', 'failed'], { CKV_REDIS_URL: 'redis://records' }, /^error: --queue-redis: is required/],
  [['backfill', 'status'], { CKV_QUEUE_REDIS_URL_FILE: 'none' }, /^error: CKV_QUEUE_REDIS_URL_FILE: none cannot be/],
])('ckv %j reaches no Redis with %j', { timeout: 60_000 }, (args, env, message) => {
  const ckv = [fileURLToPath(new URL('../bin/ckv.js', import.meta.url)), '--pool', 'elsewhere:1', ...args];
  const options = { cwd: dir, encoding: 'utf8', env: { PATH: process.env.PATH, ...env } } as const;
  const { status, stderr } = spawnSync(process.execPath, ckv, options);
  expect(stderr).toMatch(message);
  expect(status).toBe(1);
});
