export { CkvError } from '@collectivekv/domain';
export * from './client.js';
export type { CallOptions, ClientOptions, ErasureOptions, RecordOptions } from './client-options.js';
export type { CandidateExplanation, ExplainedPosition, Explanation } from './explanation.js';
export * from './rank-messages.js';
export type { EncodingErasure, Receipt } from './receipt.js';
