export * from './engine.js';
export type { Provider } from './protocol.js';
export type { RunLimits } from './run-queue.js';
