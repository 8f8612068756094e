import { CkvError } from '@collectivekv/domain';
import { expect, it } from 'vitest';
import { withRetries } from './retry.js';

const limits = (deadlineMs = Date.now() + 5_000) => ({ deadlineMs, maxAttempts: 4 });
function failing(times: number, error: CkvError) {
  let calls = 0;
  const call = async () => {
    if (calls++ < times) throw error;
    return 'done';
  };
  return { call, calls: () => calls };
}

it('repeats a call with a transient error until it succeeds', async () => {
  const { call, calls } = failing(3, new CkvError('dependency_unavailable', 'away'));
  expect(await withRetries(limits(), call)).toBe('done');
  expect(calls()).toBe(4);
});

it.each([
  ['with an error that is not transient', new CkvError('invalid_request', 'wrong'), limits(), 1],
  ['more often than allowed', new CkvError('overloaded', 'full'), limits(), 4],
  [
    'if the pause would end after the deadline',
    new CkvError('overloaded', 'full', { retryAfterMs: 60_000 }),
    limits(),
    1,
  ],
])('does not repeat a call %s', async (_, error, bounds, attempts) => {
  const { call, calls } = failing(9, error);
  await expect(withRetries(bounds, call)).rejects.toBe(error);
  expect(calls()).toBe(attempts);
});

it('ends its pause when the caller gives up', async () => {
  const controller = new AbortController();
  const error = new CkvError('overloaded', 'full', { retryAfterMs: 4_000 });
  const { call } = failing(9, error);
  const retrying = withRetries({ ...limits(), signal: controller.signal }, call);
  controller.abort();
  await expect(retrying).rejects.toMatchObject({ reason: 'cancelled', cause: error });
});
