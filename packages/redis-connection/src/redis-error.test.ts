import { inspect } from 'node:util';
import { CkvError } from '@collectivekv/domain';
import { describe, expect, it } from 'vitest';
import { observeRedis, reachingRedis, redisError } from './redis-error.js';

function reply(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' });
}

it.each([
  [new Error('Connection is closed.'), 'dependency_unavailable'],
  [new Error('Command timed out'), 'dependency_unavailable'],
  [reply('LOADING Redis is loading the dataset in memory'), 'dependency_unavailable'],
  [reply("READONLY You can't write against a read only replica."), 'dependency_unavailable'],
  [reply('ERR Error running script (call to f_1): @user_script:1: -READONLY No writes.'), 'dependency_unavailable'],
  [reply('ERR Error running script (call to f_1): @user_script:1: -OOM No memory.'), 'overloaded'],
  [reply('ERR Error running script (call to f_1): @user_script:1: -WRONGTYPE Not a string.'), 'bug'],
  [reply('ERR Error running script (call to f_1): @user_script:1: attempt to index a nil value'), 'bug'],
  [reply('CLUSTERDOWN The cluster is down'), 'dependency_unavailable'],
  [reply('MISCONF Redis is configured to save RDB snapshots'), 'dependency_unavailable'],
  [reply('NOAUTH Authentication required.'), 'dependency_unavailable'],
  [reply('ERR max number of clients reached'), 'dependency_unavailable'],
  [reply("ERR The user executing the script can't run this command or subcommand"), 'dependency_unavailable'],
  [reply("OOM command not allowed when used memory > 'maxmemory'."), 'overloaded'],
  [reply('WRONGTYPE Operation against a key holding the wrong kind of value'), 'bug'],
  [reply('ERR unknown command'), 'bug'],
  [new CkvError('conflict', 'unchanged'), 'conflict'],
])('converts %s to %s', (thrown, reason) => {
  expect(redisError(thrown)).toMatchObject({ reason });
});

it('keeps the reply out of the message, and in the cause', () => {
  const error = redisError(reply('ERR user secret-name'));
  expect(error.message).not.toContain('secret-name');
  expect(String(error.cause)).toContain('secret-name');
});

it('drops the command that ioredis attaches to its errors, and keeps name and stack', () => {
  const thrown = Object.assign(reply('ERR no'), { command: { name: 'get', args: ['ckv:{user-1}:0'] } });
  const { cause } = redisError(thrown);
  expect(inspect(thrown)).toContain('user-1');
  expect(inspect(cause)).not.toContain('user-1');
  expect(cause).toMatchObject({ name: 'ReplyError', message: 'ERR no', stack: thrown.stack });
});

it('says after which delay a retry may succeed', () => {
  expect(redisError(reply('OOM command not allowed')).retryAfterMs).toBe(1_000);
  expect(redisError(new Error('Connection is closed.')).retryAfterMs).toBe(100);
  expect(redisError(reply('ERR unknown command')).retryAfterMs).toBeUndefined();
});

it('converts a thrown value that is not an error', () => {
  expect(redisError('away')).toMatchObject({ reason: 'dependency_unavailable', cause: { message: 'away' } });
});

describe('reachingRedis', () => {
  it('returns the result of its work', async () => {
    expect(await reachingRedis(async () => 7)).toBe(7);
  });

  it('converts what its work throws', async () => {
    const failing = reachingRedis(() => Promise.reject(reply('LOADING Redis is loading the dataset in memory')));
    await expect(failing).rejects.toMatchObject({ reason: 'dependency_unavailable' });
  });
});

it('tells how long Redis took, failures included', async () => {
  const times: number[] = [];
  observeRedis((seconds) => times.push(seconds));
  expect(await reachingRedis(async () => 'answer')).toBe('answer');
  await expect(reachingRedis(() => Promise.reject(new Error('gone')))).rejects.toBeInstanceOf(CkvError);
  expect(times).toHaveLength(2);
  for (const seconds of times) expect(seconds).toBeGreaterThanOrEqual(0);
});
