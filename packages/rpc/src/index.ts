export * from './client/grpc-client.js';
export type { GrpcClientOptions } from './client/grpc-client-options.js';
export { isLoopbackTarget } from './client/target-hosts.js';
export { type TargetProblem, targetProblem } from './client/targets.js';
export * from './errors/grpc-errors.js';
export type * from './wire/methods.js';
export * from './wire/packed-ids.js';
export * from './wire/services.js';
