export * from './follow-files.js';
export * from './tls-files.js';
export * from './tls-problem.js';
