export type { CallContext } from './call-context.js';
export * from './grpc-server.js';
export type { RpcLog, RpcMetrics } from './observers.js';
