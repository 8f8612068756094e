export * from './bind.js';
export * from './call-context.js';
export * from './config.js';
export * from './grpc-server.js';
export * from './lifecycle.js';
export * from './log.js';
export * from './loopback.js';
export * from './metrics.js';
