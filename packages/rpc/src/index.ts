export * from './client/grpc-client.js';
export * from './errors/grpc-errors.js';
