export { type CallerAccess, createCallerAccess } from './access/caller-access.js';
export { CONSOLE_ROLES, EXPLAINED_RANK, REQUIRED_ROLES, ROLES, type Role } from './access/roles.js';
export {
  type Admission,
  type AdmissionLimits,
  type AdmissionOptions,
  createAdmission,
  type Load,
} from './admission.js';
export type { CallContext } from './call-context.js';
export * from './grpc-server.js';
export { watchLoop } from './loop-load.js';
export type { RpcLog, RpcMetrics } from './observers.js';
