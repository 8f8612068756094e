import { steadyNowMs } from '@collectivekv/domain';

/**
 * Returns the deadline for grpc-js, which compares it with Date.now as the call begins.
 * @param deadlineMs by {@link steadyNowMs}
 */
export function grpcDeadline(deadlineMs: number): number {
  return Date.now() + deadlineMs - steadyNowMs();
}
