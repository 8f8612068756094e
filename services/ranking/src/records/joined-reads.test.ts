import { CkvError } from '@collectivekv/domain';
import { beforeEach, expect, it, vi } from 'vitest';
import { joinReads, type ReadRecords } from './joined-reads.js';

const readRecords = vi.fn<ReadRecords>();
const read = joinReads(readRecords);

beforeEach(() => {
  readRecords.mockReset();
  readRecords.mockImplementation(async (encodingId, userIds) =>
    userIds.map((userId) => (userId === 'cold' ? undefined : Buffer.from(`${userId} of ${encodingId}`))),
  );
});

it('joins the reads of one turn into calls of at most 512, and gives every caller its own record', async () => {
  const users = [...Array.from({ length: 600 }, (_, i) => `u${i}`), 'cold'];
  const records = await Promise.all(users.map((userId) => read('b', userId, 1_000)));
  expect(readRecords.mock.calls.map(([, userIds]) => userIds.length)).toEqual([512, 89]);
  expect(records.map((bytes) => bytes && String(bytes))).toEqual(
    users.map((userId) => (userId === 'cold' ? undefined : `${userId} of b`)),
  );
  await read('b', 'later', 1_000);
  expect(readRecords).toHaveBeenCalledTimes(3);
});

it('reads the records of each encoding by a call of its own', async () => {
  const records = await Promise.all([read('b', 'u', 1_000), read('other', 'u', 1_000)]);
  expect(records.map(String)).toEqual(['u of b', 'u of other']);
  expect(readRecords).toHaveBeenCalledTimes(2);
});

it('gives a call the latest deadline of its reads', async () => {
  await Promise.all([read('b', 'u1', 30), read('b', 'u2', 5_000), read('b', 'u3', 40)]);
  expect(readRecords.mock.calls).toEqual([['b', ['u1', 'u2', 'u3'], 5_000]]);
});

it('fails the reads of a call that failed, and no others', async () => {
  readRecords.mockRejectedValueOnce(new CkvError('dependency_unavailable', 'away'));
  const outcomes = await Promise.allSettled([
    read('b', 'u1', 1_000),
    read('b', 'u2', 1_000),
    read('other', 'u1', 1_000),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  expect(String(await read('b', 'u1', 1_000))).toBe('u1 of b');
});

it('fails the reads of a call that answers another number of records', async () => {
  readRecords.mockResolvedValueOnce([undefined]);
  const outcomes = await Promise.allSettled([read('b', 'u1', 1_000), read('b', 'u2', 1_000)]);
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { reason: 'bug', message: /2 .* 1 / } });
  }
});
