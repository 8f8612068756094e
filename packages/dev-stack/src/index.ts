export * from './auc.js';
export * from './console.js';
export * from './quickstart.js';
export * from './service-process.js';
export * from './stack.js';
