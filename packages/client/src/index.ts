export * from './client.js';
export * from './rank-messages.js';
