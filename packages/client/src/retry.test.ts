import { CkvError, steadyNowMs } from '@collectivekv/domain';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createEarlyEnds } from './early-ends.js';
import { type Attempt, withRetries } from './retry.js';

const limits = (deadlineMs = steadyNowMs() + 5_000) => ({ deadlineMs, maxAttempts: 4 });
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

describe('a call whose server hangs', () => {
  const late = new CkvError('deadline', 'the deadline passed');
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Calls a server that hangs. Returns the tries. */
  async function hang(earlyEnds = createEarlyEnds()): Promise<Attempt[]> {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    const startedMs = steadyNowMs();
    const attempts: Attempt[] = [];
    const calling = withRetries({ ...limits(startedMs + 1_000), earlyEnds }, async (attempt) => {
      attempts.push({ ...attempt, deadlineMs: attempt.deadlineMs - startedMs });
      vi.advanceTimersByTime(attempt.deadlineMs - steadyNowMs());
      throw late;
    });
    await expect(calling).rejects.toBe(late);
    return attempts;
  }

  it('is tried again when half of the time that was left has passed', async () => {
    expect(await hang()).toEqual([
      { deadlineMs: 500, again: false },
      { deadlineMs: 750, again: true },
      { deadlineMs: 875, again: true },
      { deadlineMs: 1_000, again: true },
    ]);
  });

  it('has all of the time if few calls are answered, and halves again when calls are answered', async () => {
    const earlyEnds = createEarlyEnds();
    while (earlyEnds.allowed) earlyEnds.ended();
    expect(await hang(earlyEnds)).toEqual([{ deadlineMs: 1_000, again: false }]);
    await withRetries({ ...limits(), earlyEnds }, async () => 'done');
    expect(await hang(earlyEnds)).toHaveLength(2);
  });
});
