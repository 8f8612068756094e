export * from './encode-rows.js';
export * from './follow-bundles.js';
export * from './golden.js';
export * from './load-bundle.js';
export * from './loaded-bundle.js';
export * from './open-bundle.js';
export * from './rank-scores.js';
export * from './read-pool-tables.js';
