export * from './arrivals.js';
export {
  CLAIM_MS,
  type ClaimOfOther,
  type EncodingClaim,
  type EncodingClaims,
  isClaimed,
  openEncodingClaims,
} from './encoding-claims.js';
export { type EventLogBounds, type LoggedEvent, NO_EVENT_LOG } from './event-log.js';
export * from './inspection.js';
export * from './interaction-jobs.js';
export { OpeningOver } from './job-scripts.js';
export type { ErasedJobs, FinishErasures } from './job-sweep.js';
export {
  CLOCK_MARGIN_MS,
  type HeldLeases,
  type LeaseTable,
  openLeaseTable,
  type PartitionTerm,
  termOver,
} from './lease-table.js';
export * from './oldest-waiting.js';
export { MAX_FAILED_JOBS, openQueues, waitingCounts } from './open-queues.js';
export * from './partition-queue.js';
export {
  createInteractionProducer,
  type InteractionProducer,
  type ProducerOptions,
} from './producer.js';
export * from './queue-access.js';
export { type JobMemory, type JobMemoryOptions, jobMemory, loggedBytes, receiptBytes } from './queue-memory.js';
export * from './queue-names.js';
export * from './receipts.js';
export * from './record-encodings.js';
export type { Erasure, ErasureSubject } from './strip-job.js';
export * from './warming-feed.js';
export * from './warmings.js';
