export * from './engine.js';
export * from './engine-options.js';
export type { GraphSet } from './graph-set.js';
export type { Precision, Provider } from './protocol.js';
export type { Batching, RunLimits } from './run-queue.js';
export * from './runtime-version.js';
export { sessionOptions } from './session-options.js';
export type { GraphFile } from './worker-pool.js';
