export { REQUIRED_ROLES, ROLES, type Role } from './access/roles.js';
export type { CallContext } from './call-context.js';
export * from './grpc-server.js';
export type { RpcLog, RpcMetrics } from './observers.js';
