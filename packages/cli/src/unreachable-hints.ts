import type { CkvError } from '@collectivekv/domain';
import { isLoopbackTarget } from '@collectivekv/rpc';

/**
 * Returns what may help if a service, or Redis, cannot be reached. For Redis and for services on this machine:
 * `npm start`. Without certificate authorities: TLS, since a service that speaks it ends the connection.
 */
export function unreachableHints(
  { reason, message, field }: CkvError,
  { CKV_TLS_CA_FILE = '' }: NodeJS.ProcessEnv,
): string[] {
  if (reason !== 'dependency_unavailable' || field !== undefined) return []; // a field: something else answers there
  const target = / at (\S+) cannot be reached/.exec(message)?.[1];
  return [
    ...(target !== undefined && CKV_TLS_CA_FILE === '' ? ['if it speaks TLS, set CKV_TLS_CA_FILE'] : []),
    ...(target === undefined || isLoopbackTarget(target) ? ['"npm start" runs all services on this machine'] : []),
  ];
}
