import { describe, expect, it } from 'vitest';
import { eventHash, freshInteractions, hasEvent } from './recent-events.js';

describe('eventHash', () => {
  it('is the first 6 bytes of the sha256, with the top bit cleared', () => {
    const hexOf = (eventId: string) => Buffer.from(eventHash(eventId)).toString('hex');
    expect(hexOf('e1')).toBe('8b5cc4df7e6c'); // of 8b5cc4df7eec…
    expect(hexOf('e4')).toBe('449777124b14'); // of 449777124b14…
  });
});

describe('hasEvent', () => {
  it.each([0, 1, 4, 5])('tells hashes apart that differ in byte %i only', (place) => {
    const hash = Uint8Array.of(1, 2, 3, 4, 5, 6);
    const other = hash.with(place, 9);
    expect(hasEvent({ recentEvents: other }, hash)).toBe(false);
    expect(hasEvent({ recentEvents: Uint8Array.from([...other, ...hash]) }, hash)).toBe(true);
  });

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
