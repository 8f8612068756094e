import { describe, expect, it } from 'vitest';
import { eventHash, freshInteractions, hasEvent } from './recent-events.js';

describe('hasEvent', () => {
  it('finds an event in the ring, live or deleted', () => {
    const deleted = eventHash('e2');
    deleted[5] = (deleted[5] ?? 0) | 0x80;
    const ring = { recentEvents: Uint8Array.from([...eventHash('e1'), ...deleted]) };
    expect(['e1', 'e2', 'e3'].map((id) => hasEvent(ring, eventHash(id)))).toEqual([true, true, false]);
  });
});

describe('freshInteractions', () => {
  it('returns the interactions with new events, each event once, in order', () => {
    const ring = { recentEvents: eventHash('e1') };
    const interactions = ['e2', 'e1', 'e3', 'e2'].map((eventId) => {
      return { eventId, userId: 'u', itemId: 'i', timestampMs: 1, action: '', features: {} };
    });
    const [e2, e1, e3] = interactions;
    expect(freshInteractions(ring, interactions)).toEqual([e2, e3]);
    expect(freshInteractions(undefined, interactions)).toEqual([e2, e1, e3]);
  });
});
