export * from './certificate-authority.js';
export * from './garbling-server.js';
