export * from './arrivals.js';
export * from './inspection.js';
export * from './interaction-jobs.js';
export * from './partition-queue.js';
export * from './producer.js';
