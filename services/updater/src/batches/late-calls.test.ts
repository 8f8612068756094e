import { type Interaction, RECENT_EVENT_RING } from '@collectivekv/domain';
import { beforeEach, describe, expect, it } from 'vitest';
import { createLateCalls, type LateCalls } from './late-calls.js';

const never = new AbortController().signal;
let late: LateCalls;
beforeEach(() => {
  late = createLateCalls();
});

/** A wave with so many interactions of each user. */
function wave(counts: Record<string, number>): Map<string, Interaction[]> {
  const interaction = (userId: string): Interaction => ({
    eventId: 'e',
    userId,
    itemId: 'i',
    timestampMs: 1_700_000_000_000,
    action: '',
    features: {},
  });
  return new Map(Object.entries(counts).map(([userId, count]) => [userId, Array(count).fill(interaction(userId))]));
}

/**
 * True if the interactions may not be appended yet. Then the wait ends only because its signal aborts, and it throws.
 */
async function waits(counts: Record<string, number>): Promise<boolean> {
  const giveUp = new AbortController();
  const waiting = late.beforeAppend(wave(counts), giveUp.signal).then(
    () => undefined,
    (error) => error.reason,
  );
  await new Promise(setImmediate);
  giveUp.abort();
  const reason = await waiting;
  if (reason !== undefined) expect(reason).toBe('draining');
  return reason !== undefined;
}

describe('after a failed append', () => {
  it.each([
    ['as many events as the ring has room for', { u: RECENT_EVENT_RING - 5 }, false],
    ['one event more', { u: RECENT_EVENT_RING - 4 }, true],
    ['other users', { v: RECENT_EVENT_RING }, false],
    ['other users beside too many events', { v: 1, u: RECENT_EVENT_RING }, true],
  ])('%s: %j may wait: %s', async (_, next, expected) => {
    late.appendFailed(wave({ u: 5 }), performance.now() + 60_000);
    expect(await waits(next)).toBe(expected);
  });

  it('counts what was appended since the first failure, and no failed try twice', async () => {
    late.appendFailed(wave({ u: 5 }), performance.now() + 60_000);
    late.appendFailed(wave({ u: 5 }), performance.now() + 60_000); // the retry fails as well
    expect(await waits({ u: 4 })).toBe(false);
    expect(await waits({ u: 5 })).toBe(false);
    expect(await waits({ u: 1 })).toBe(true);
  });

  it('goes on when the fence of the last try has ended', async () => {
    late.appendFailed(wave({ u: 14 }), performance.now() + 10);
    const endedByMs = performance.now() + 40;
    late.appendFailed(wave({ u: 14 }), endedByMs);
    await late.beforeAppend(wave({ u: 1 }), never);
    expect(performance.now()).toBeGreaterThanOrEqual(endedByMs);
    expect(await waits({ u: 14 })).toBe(false);
  });
});

it('lets no event follow a failed removal', async () => {
  late.appendFailed(wave({ u: 1 }), performance.now() + 60_000);
  late.removalFailed('u', performance.now() + 60_000);
  late.removalFailed('v', performance.now() + 60_000);
  expect(await waits({ u: 1 })).toBe(true);
  expect(await waits({ v: 1 })).toBe(true);
  expect(await waits({ w: 1 })).toBe(false);
});

describe('before a deletion', () => {
  it('waits for the late calls of the user alone', async () => {
    const endedByMs = performance.now() + 40;
    late.appendFailed(wave({ u: 1 }), endedByMs);
    late.appendFailed(wave({ v: 1 }), performance.now() + 60_000);
    await late.beforeDeletion('w', never);
    await late.beforeDeletion('u', never);
    expect(performance.now()).toBeGreaterThanOrEqual(endedByMs);
  });

  it('throws if the updater stops first: the user must not be deleted yet', async () => {
    late.appendFailed(wave({ u: 1 }), performance.now() + 60_000);
    await expect(late.beforeDeletion('u', AbortSignal.abort())).rejects.toMatchObject({ reason: 'draining' });
  });
});

it('is passed at once without late calls, otherwise when the last fence has ended', async () => {
  await late.passed();
  const endedByMs = performance.now() + 40;
  late.appendFailed(wave({ u: 1 }), endedByMs);
  late.removalFailed('v', endedByMs - 30);
  await late.passed();
  expect(performance.now()).toBeGreaterThanOrEqual(endedByMs);
});
