export * from './grpc-client.js';
export * from './grpc-errors.js';
