import { expect, it } from 'vitest';
import { mayRepeat } from './calls.js';
import { crc32 } from './crc32.js';
import { createUserJournal, type SentEvent, type UserJournal } from './user-journal.js';

function journalOf(count: number, forgetsByEventOnly = false): UserJournal {
  const journal = createUserJournal('u', { maxPositions: 20, forgetsByEventOnly });
  addTo(journal, count);
  return journal;
}

function addTo(journal: UserJournal, count: number): SentEvent[] {
  return Array.from({ length: count }, () => {
    const eventId = `e${journal.events.length}`;
    return journal.record({ eventId, userId: 'u', itemId: 'i', timestampMs: 1, action: '', features: {} });
  });
}

const seqsAfter = (journal: UserJournal, steps = journal.steps.length) =>
  journal.after(steps).events.map(({ seq }) => seq);

it('trims the oldest positions, and keeps 14 events in the ring', () => {
  const journal = journalOf(25);
  expect(seqsAfter(journal)).toEqual(Array.from({ length: 20 }, (_, i) => i + 5));
  expect(journal.after(25).ring).toHaveLength(14);
  expect(journal.after(3)).toMatchObject({ lifetimeCount: 3 });
});

it.each([
  [false, [1, 2]],
  [true, [0, 1, 2]],
])('forgets an event that the ring no longer has, unless only events are found (%s)', (byEventOnly, first) => {
  const journal = journalOf(18, byEventOnly);
  const [oldest] = journal.events;
  if (oldest) journal.forget(oldest);
  expect(seqsAfter(journal).slice(0, first.length)).toEqual(first);
  expect(journal.after(19).ring.at(-1)).toMatchObject({ tombstone: !byEventOnly });
});

it('knows how many steps were seen applied at a time', () => {
  const journal = journalOf(5);
  const beforeMs = performance.now();
  journal.seenLifetime(3);
  journal.seenLifetime(2);
  expect(journal.appliedAt(performance.now())).toBe(3);
  expect(journal.appliedAt(beforeMs - 1)).toBe(0);
});

it('repeats a small call only while the ring has its events, and a large call or one with a key always', () => {
  const journal = journalOf(0);
  const small = addTo(journal, 3).map((event) => ({ journal, event }));
  const large = addTo(journal, 15).map((event) => ({ journal, event }));
  expect(mayRepeat({ kind: 'record', entries: small })).toBe(false);
  expect(mayRepeat({ kind: 'record', entries: small, idempotencyKey: 'k' })).toBe(true);
  expect(mayRepeat({ kind: 'record', entries: large })).toBe(true);
  expect(mayRepeat({ kind: 'job', entries: large.slice(-14) })).toBe(true);
  expect(mayRepeat({ kind: 'job', entries: large })).toBe(false);
});

it('computes the check value of CRC-32', () => {
  expect(crc32('123456789')).toBe(0xcbf43926);
});
