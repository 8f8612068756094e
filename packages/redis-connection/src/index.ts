export * from './access-rules.js';
export * from './channel.js';
export * from './connect-redis.js';
export * from './eviction.js';
export * from './join-writes.js';
export * from './redis-error.js';
export { type RedisTlsOptions, redisTlsFrom } from './redis-tls.js';
export * from './redis-url.js';
export * from './trials.js';
