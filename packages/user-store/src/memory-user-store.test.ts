import { beforeEach } from 'vitest';
import { createMemoryUserStore } from './memory-user-store.js';
import { describeUserStore } from './user-store.contract.js';

let store = createMemoryUserStore();
beforeEach(() => {
  store = createMemoryUserStore();
});

describeUserStore(
  'user store in memory',
  () => store,
  (userId, bundleId, bytes) => store.replaceRecord(bundleId, userId, bytes),
);
