export * from './find-redis.js';
export * from './start-cluster.js';
export * from './start-redis.js';
export * from './start-temporary-redis.js';
export * from './tcp-pipe.js';
