import { expect, it } from 'vitest';
import { redacted } from './redact.js';

it.each([
  'userId',
  'userIds',
  'userID',
  'UserId',
  'user_id',
  'user_ids',
  'user-id',
  'USER_ID',
  'user',
  'users',
  'uid',
  'forUserId',
  'token',
  'authorization',
  'Authorization',
  'password',
  'rows',
  'record',
  'records',
  'args',
])('replaces %s at every depth', (name) => {
  const fields = { [name]: 'ada', count: 1, list: [{ inner: { [name]: ['ada', 'eve'] } }] };
  const line = JSON.stringify(redacted(fields));
  expect(line).not.toMatch(/ada|eve/);
  expect(line).toContain('"count":1');
});

it('keeps fields that name no user, and the object that was logged', () => {
  const fields = { rpc: 'UserCacheService/Stats', reason: 'user_not_found', field: 'appends[0].user_id', userCount: 3 };
  expect(redacted(fields)).toEqual(fields);
  const nested = { inner: { userId: 'ada' } };
  redacted(nested);
  expect(nested.inner.userId).toBe('ada');
});

it('replaces secrets in errors, their causes and the errors that they hold', () => {
  const inner = Object.assign(new TypeError('inner'), { command: { name: 'get', args: ['ada'] } });
  const outer = Object.assign(new Error('outer', { cause: inner }), { userId: 'ada', previous: inner });
  const errors = { cause: outer, list: [outer], all: new AggregateError([outer], 'all') };
  const line = JSON.stringify(redacted(errors));
  expect(line).not.toContain('ada');
  expect(redacted(errors)).toMatchObject({
    cause: { type: 'Error', message: 'outer: inner', userId: '[redacted]', previous: { type: 'TypeError' } },
    list: [{ type: 'Error', stack: expect.stringContaining('outer') }],
    all: { aggregateErrors: [{ userId: '[redacted]' }] },
  });
});

it('writes the count of bytes, dates as they are, and ends in a circle', () => {
  const circle: Record<string, unknown> = { bytes: Buffer.from('ada'), at: new Date(0) };
  circle.self = circle;
  const line = JSON.stringify(redacted(circle));
  expect(line).toContain('"bytes":"[3 bytes]"');
  expect(line).toContain('1970');
  expect(line).toContain('too deep');
});
