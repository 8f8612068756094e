export * from './fleet-figures.js';
export * from './metrics-text.js';
export * from './scrape.js';
