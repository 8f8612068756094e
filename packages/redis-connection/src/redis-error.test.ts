import { CkvError } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import { redisError } from './redis-error.js';

function reply(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' });
}

it.each([
  [new Error('Connection is closed.'), 'dependency_unavailable'],
  [new Error('Command timed out'), 'dependency_unavailable'],
  [reply('LOADING Redis is loading the dataset in memory'), 'dependency_unavailable'],
  [reply("READONLY You can't write against a read only replica."), 'dependency_unavailable'],
  [reply('CLUSTERDOWN The cluster is down'), 'dependency_unavailable'],
  [reply('MISCONF Redis is configured to save RDB snapshots'), 'dependency_unavailable'],
  [reply('NOAUTH Authentication required.'), 'dependency_unavailable'],
  [reply('ERR max number of clients reached'), 'dependency_unavailable'],
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

it('drops the command that ioredis attaches to its errors', () => {
  const thrown = Object.assign(reply('ERR no'), { command: { name: 'get', args: ['ckv:{user-1}:0'] } });
  expect(JSON.stringify(redisError(thrown).cause, Object.getOwnPropertyNames(thrown))).not.toContain('user-1');
});
