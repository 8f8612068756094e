export * from './bundle-states.js';
export * from './bundle-status.js';
export * from './unfinished-backfill.js';
export * from './warming-text.js';
export * from './with-claim.js';
