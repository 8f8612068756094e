export { CkvError } from '@collectivekv/domain';
export * from './client.js';
export type { CallOptions, ClientOptions, RecordOptions } from './client-options.js';
export * from './rank-messages.js';
