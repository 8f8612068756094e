import { CkvError, REASONS, type Reason } from '@collectivekv/domain';
import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';

const REASON_KEY = 'ckv-reason';
const FIELD_KEY = 'ckv-field';
const RETRY_AFTER_KEY = 'ckv-retry-after-ms';

/** Returns the gRPC status of a failure. Reason, field and delay are trailing metadata. The cause is not sent. */
export function statusOf(error: CkvError): StatusObject {
  const metadata = new Metadata();
  metadata.set(REASON_KEY, error.reason);
  if (error.field) metadata.set(FIELD_KEY, error.field.replace(/[^\x20-\x7e]/g, '?'));
  if (error.retryAfterMs !== undefined) metadata.set(RETRY_AFTER_KEY, String(error.retryAfterMs));
  return { code: REASONS[error.reason].status, details: error.message, metadata };
}

/** Returns the CkvError of a failed call. Its reason is the one that was sent, or follows from the status code. */
export function errorFrom(error: ServiceError): CkvError {
  const sent = String(error.metadata?.get(REASON_KEY)[0] ?? '');
  const retryAfter = error.metadata?.get(RETRY_AFTER_KEY)[0];
  const reason = sent in REASONS ? (sent as Reason) : (REASON_OF_CODE.get(error.code) ?? 'bug');
  return new CkvError(reason, error.details || error.message, {
    field: error.metadata?.get(FIELD_KEY)[0]?.toString(),
    retryAfterMs: retryAfter === undefined ? undefined : Number(retryAfter),
    cause: error,
  });
}

const REASON_OF_CODE: ReadonlyMap<number, Reason> = new Map([
  [status.INVALID_ARGUMENT, 'invalid_request'],
  [status.NOT_FOUND, 'user_not_found'],
  [status.FAILED_PRECONDITION, 'bundle_not_loaded'],
  [status.DATA_LOSS, 'record_corrupt'],
  [status.ABORTED, 'conflict'],
  [status.RESOURCE_EXHAUSTED, 'overloaded'],
  [status.UNAVAILABLE, 'dependency_unavailable'],
  // Without a reason of ours, the transport sends these two when a connection breaks.
  [status.INTERNAL, 'dependency_unavailable'],
  [status.UNKNOWN, 'dependency_unavailable'],
  [status.DEADLINE_EXCEEDED, 'deadline'],
  [status.CANCELLED, 'cancelled'],
  [status.UNAUTHENTICATED, 'unauthenticated'],
  [status.PERMISSION_DENIED, 'permission_denied'],
]);
