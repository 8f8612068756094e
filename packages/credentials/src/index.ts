export * from './follow-files.js';
export * from './tls-files.js';
