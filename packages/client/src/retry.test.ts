import { CkvError, steadyNowMs } from '@collectivekv/domain';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Attempt, pauseMs, withRetries } from './retry.js';
import { createRetryBudget, type RetryBudget } from './retry-budget.js';

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

describe('a refused call', () => {
  it('waits for the delay that the server asks for', async () => {
    const { call } = failing(1, new CkvError('overloaded', 'full', { retryAfterMs: 120 }));
    const startedMs = steadyNowMs();
    await withRetries(limits(), call);
    expect(steadyNowMs() - startedMs).toBeGreaterThanOrEqual(119); // timers round down
  });

  it('waits up to half longer than the delay, at random, and never shorter', () => {
    const pauses = Array.from({ length: 1_000 }, () => pauseMs(1, 1_000));
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(1_500);
    expect(new Set(pauses).size).toBeGreaterThan(900);
  });
});

describe.each([
  ['a refusal', 'overloaded', 'afterRefusal', 11, 100],
  ['a failure', 'dependency_unavailable', 'afterFailure', 1, 1_000],
] as const)('after %s', (_, reason, kind, answersForOneMore, most) => {
  const error = new CkvError(reason, 'no');
  const answer = (budget: RetryBudget) => withRetries({ ...limits(), budget }, async () => 'done');

  it('a call is not repeated when the budget is spent, until calls are answered', async () => {
    const budget = createRetryBudget();
    while (budget.take(kind));
    const spent = failing(9, error);
    await expect(withRetries({ ...limits(), budget }, spent.call)).rejects.toBe(error);
    expect(spent.calls()).toBe(1);
    for (let i = 0; i < answersForOneMore; i++) await answer(budget);
    const again = failing(9, error);
    await expect(withRetries({ ...limits(), budget }, again.call)).rejects.toBe(error);
    expect(again.calls()).toBe(2);
  });

  it(`the budget has ${most} tries at first, and not more after many answers`, async () => {
    const budget = createRetryBudget();
    for (let i = 0; i < 5_000; i++) budget.answered();
    let count = 0;
    while (budget.take(kind)) count++;
    expect(count).toBe(most);
  });
});

it('refusals and other failures have budgets of their own', () => {
  const budget = createRetryBudget();
  while (budget.take('afterRefusal'));
  expect([budget.take('afterFailure'), budget.endsEarly]).toEqual([true, true]);
  while (budget.take('afterFailure'));
  expect([budget.take('afterFailure'), budget.endsEarly]).toEqual([false, false]);
});

it('if every second try fails, the budget lasts for ever', () => {
  const budget = createRetryBudget();
  for (let i = 0; i < 3_000; i++) {
    expect(budget.take('afterFailure')).toBe(true);
    budget.answered();
  }
});

it('ends its pause when the caller gives up', async () => {
  const controller = new AbortController();
  const error = new CkvError('overloaded', 'full', { retryAfterMs: 2_000 });
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
  async function hang(budget = createRetryBudget()): Promise<Attempt[]> {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    const startedMs = steadyNowMs();
    const attempts: Attempt[] = [];
    const calling = withRetries({ ...limits(startedMs + 1_000), budget }, async (attempt) => {
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
    const budget = createRetryBudget();
    while (budget.take('afterFailure'));
    expect(await hang(budget)).toEqual([{ deadlineMs: 1_000, again: false }]);
    await withRetries({ ...limits(), budget }, async () => 'done');
    expect(await hang(budget)).toHaveLength(2);
  });
});
