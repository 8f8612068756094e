export * from './follow-files.js';
export * from './small-file.js';
export * from './tls-files.js';
export * from './tls-problem.js';
