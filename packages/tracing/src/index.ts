export * from './spans.js';
export * from './traceparent.js';
