export type * from './generated/messages.js';
export type * from './methods.js';
export * from './packed-ids.js';
export * from './services.js';
