export type * from './generated/messages.js';
export type * from './methods.js';
export * from './services.js';
