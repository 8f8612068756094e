export * from './allocator.js';
export * from './key-memory.js';
