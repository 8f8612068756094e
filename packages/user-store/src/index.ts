export { type ErasureWatch, watchErasures } from './erasures.js';
export * from './memory-user-store.js';
export * from './record-access.js';
export * from './record-memory.js';
export { createRedisRecordReader, type RecordReader } from './redis-record-reader.js';
export * from './redis-user-store.js';
export * from './user-store.js';
