/** What a caller may do after a failure: nothing, one retry, retries with backoff, or refresh its bundle first. */
export type RetryAdvice = 'no' | 'once' | 'backoff' | 'refresh';

interface ReasonEntry {
  /** gRPC status code. */
  readonly status: number;
  /** gRPC status name. */
  readonly statusName: string;
  readonly retry: RetryAdvice;
  readonly meaning: string;
}

function entry(status: number, statusName: string, retry: RetryAdvice, meaning: string): ReasonEntry {
  return { status, statusName, retry, meaning };
}

/** Every way a call can fail, with its gRPC status and what the caller may do. docs/errors.md is written from it. */
export const REASONS = {
  invalid_request: entry(3, 'INVALID_ARGUMENT', 'no', 'A field breaks its bounds; the message names it.'),
  user_not_found: entry(5, 'NOT_FOUND', 'no', 'The user has no record. Ranking treats it as a cold start.'),
  bundle_mismatch: entry(9, 'FAILED_PRECONDITION', 'refresh', 'Record and request are of different bundles.'),
  bundle_not_loaded: entry(9, 'FAILED_PRECONDITION', 'refresh', 'The bundle is not loaded on this replica.'),
  bundle_invalid: entry(9, 'FAILED_PRECONDITION', 'no', 'A bundle breaks the format, a digest or its golden vectors.'),
  record_corrupt: entry(15, 'DATA_LOSS', 'no', "A record's bytes are not a record; it is set aside."),
  conflict: entry(10, 'ABORTED', 'once', 'Another writer changed the record in between.'),
  overloaded: entry(8, 'RESOURCE_EXHAUSTED', 'backoff', 'A queue is at its bound.'),
  dependency_unavailable: entry(14, 'UNAVAILABLE', 'backoff', 'Redis or another service cannot be reached.'),
  draining: entry(14, 'UNAVAILABLE', 'backoff', 'The service is shutting down.'),
  deadline: entry(4, 'DEADLINE_EXCEEDED', 'no', 'The deadline passed.'),
  cancelled: entry(1, 'CANCELLED', 'no', 'The caller gave up.'),
  unauthenticated: entry(16, 'UNAUTHENTICATED', 'no', 'The token is missing or wrong.'),
  permission_denied: entry(7, 'PERMISSION_DENIED', 'no', 'The token does not allow this call.'),
  provider_missing: entry(9, 'FAILED_PRECONDITION', 'no', 'The execution provider is not installed.'),
  bug: entry(13, 'INTERNAL', 'no', 'A defect; the log has its cause.'),
} as const satisfies Record<string, ReasonEntry>;

/** A key of {@link REASONS}. */
export type Reason = keyof typeof REASONS;

/** What a {@link CkvError} carries beside its message. */
export interface CkvErrorDetails {
  /** The field at fault, as a path: `appends[3].rows`. */
  readonly field?: string | undefined;
  /** When a retry may succeed. */
  readonly retryAfterMs?: number | undefined;
  /** Kept for the log, never sent. */
  readonly cause?: unknown;
}

/** The one error class: a reason from the table and a message fit for the caller. */
export class CkvError extends Error {
  readonly reason: Reason;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(reason: Reason, message: string, details: CkvErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'CkvError';
    this.reason = reason;
    this.field = details.field;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/**
 * An `invalid_request`.
 * @param field path of the field: `candidate_ids[7]`
 * @param problem what is wrong, with the limit: `has 300 bytes, at most 256 are allowed`
 * @param remedy what to do: `send a shorter id`
 */
export function invalidRequest(field: string, problem: string, remedy: string): CkvError {
  return new CkvError('invalid_request', `${field}: ${problem}; ${remedy}`, { field });
}

/** Anything thrown, as a CkvError: what is not one already becomes a `bug` with a fixed text and its cause kept. */
export function toCkvError(thrown: unknown): CkvError {
  if (thrown instanceof CkvError) return thrown;
  return new CkvError('bug', 'internal error; the service log has its cause', { cause: thrown });
}
