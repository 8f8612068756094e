import { expect, it } from 'vitest';
import { notesOfAccepted } from './accepted-notes.js';

it('counts what was under way at the end, since a backend may learn later that it was accepted', () => {
  const backends = { acceptedCount: 10, sentCount: 14 };
  const notes = notesOfAccepted(backends);
  notes.close();
  const startedMs = performance.now();
  Object.assign(backends, { acceptedCount: 13, sentCount: 20 });
  expect(notes.acceptedSince(startedMs)).toBe(10);
  expect(notes.acceptedSince(startedMs, 0)).toBe(4);
  expect(notes.acceptedSince(Number.NEGATIVE_INFINITY)).toBe(20);
});
