export * from './auc.js';
export * from './log/interaction-log.js';
export * from './quickstart.js';
export * from './service-process.js';
export * from './stack.js';
