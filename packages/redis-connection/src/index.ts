export * from './connect-redis.js';
export * from './redis-error.js';
export * from './redis-url.js';
export * from './watch-writes.js';
