import { CLOCK_MARGIN_MS } from '@collectivekv/update-queue';
import { afterEach, expect, it, vi } from 'vitest';
import { createFence } from './fence.js';

afterEach(() => void vi.restoreAllMocks());

it('holds nothing before its first renewal', () => {
  expect(createFence({ partition: 3, member: 'one', term: 7 }).isHeld()).toBe(false);
});

it('names its term', () => {
  expect(createFence({ partition: 3, member: 'one', term: 7 })).toMatchObject({ partition: 3, member: 'one', term: 7 });
});

it('ends appends before the lease, and its own work by the monotonic clock', () => {
  const fence = createFence({ partition: 3, member: 'one', term: 7 });
  const nowMs = vi.spyOn(performance, 'now');
  fence.renew({ endsMs: 1_700_000_005_000, heldUntilMs: 100, endedByMs: 150 });
  expect(fence.endedByMs()).toBe(150);
  expect(fence.validUntilMs()).toBe(1_700_000_005_000 - CLOCK_MARGIN_MS);
  nowMs.mockReturnValue(99);
  expect(fence.isHeld()).toBe(true);
  nowMs.mockReturnValue(100);
  expect(fence.isHeld()).toBe(false);
  fence.renew({ endsMs: 1_700_000_006_000, heldUntilMs: 200, endedByMs: 250 });
  expect(fence.endedByMs()).toBe(250);
  expect(fence.isHeld()).toBe(true);
  fence.end();
  expect(fence.isHeld()).toBe(false);
});
