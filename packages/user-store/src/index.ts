export * from './memory-user-store.js';
export * from './redis-user-store.js';
export * from './user-store.js';
