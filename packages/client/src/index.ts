export { CkvError } from '@collectivekv/domain';
export * from './client.js';
export * from './rank-messages.js';
