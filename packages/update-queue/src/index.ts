export * from './arrivals.js';
export * from './inspection.js';
export * from './interaction-jobs.js';
export { type HeldLeases, type LeaseTable, openLeaseTable, type PartitionTerm, termOver } from './lease-table.js';
export { MAX_FAILED_JOBS, openQueues, waitingCounts } from './open-queues.js';
export * from './partition-queue.js';
export * from './producer.js';
export * from './queue-names.js';
