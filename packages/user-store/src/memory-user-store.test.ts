import { beforeEach, expect, it } from 'vitest';
import { createMemoryUserStore } from './memory-user-store.js';
import { describeUserStore } from './user-store.contract.js';

const NOW_MS = 1_700_000_000_000;
let store = createMemoryUserStore(() => NOW_MS);
beforeEach(() => {
  store = createMemoryUserStore(() => NOW_MS);
});

describeUserStore('user store in memory', {
  store: () => store,
  plant: (userId, encodingId, bytes) => store.replaceRecord(encodingId, userId, bytes),
  nowMs: async () => NOW_MS,
});

it('appends up to the last millisecond of the fence', async () => {
  const shape = { encodingId: '0123456789abcdef', strideBytes: 1, maxPositions: 10 };
  const append = { userId: 'u', eventHashes: new Uint8Array(6), rows: Uint8Array.of(7), lastEventMs: 1 };
  await expect(store.appendPositions(shape, [append], { validUntilMs: NOW_MS - 1 })).rejects.toThrow(/valid_until_ms/);
  expect(await store.appendPositions(shape, [append], { validUntilMs: NOW_MS })).toMatchObject([{ appliedCount: 1 }]);
});
