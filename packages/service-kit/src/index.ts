export * from './bind.js';
export * from './config.js';
export * from './grpc-options.js';
export * from './lifecycle.js';
export * from './log.js';
export * from './loopback.js';
export * from './metrics.js';
export * from './redis-tls.js';
