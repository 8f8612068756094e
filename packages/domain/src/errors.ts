/** What a caller may do after a failure: nothing, retry once, retry with backoff, or first refresh its bundle. */
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

/** Every reason for a failed call, with its gRPC status and what the caller may do. Source of docs/errors.md. */
export const REASONS = {
  invalid_request: entry(
    3,
    'INVALID_ARGUMENT',
    'no',
    'A field breaks its bounds, or asks for what is not possible now. The message names the field and the remedy.',
  ),
  user_not_found: entry(5, 'NOT_FOUND', 'no', 'The user has no record. Ranking treats the user as a cold start.'),
  receipt_not_found: entry(5, 'NOT_FOUND', 'no', 'No receipt has this id, or the receipt has expired.'),
  encoding_mismatch: entry(
    9,
    'FAILED_PRECONDITION',
    'refresh',
    'The record belongs to another encoding than the request.',
  ),
  bundle_mismatch: entry(
    9,
    'FAILED_PRECONDITION',
    'refresh',
    'The pool rows belong to another bundle than the request.',
  ),
  bundle_not_loaded: entry(9, 'FAILED_PRECONDITION', 'refresh', 'This replica has not loaded the bundle.'),
  bundle_cold: entry(
    9,
    'FAILED_PRECONDITION',
    'no',
    'Too few users have records under the bundle. The message has the figures and the remedy.',
  ),
  bundle_invalid: entry(
    9,
    'FAILED_PRECONDITION',
    'no',
    'A bundle breaks the format, differs from a digest, or fails its golden vectors.',
  ),
  bundle_untrusted: entry(
    9,
    'FAILED_PRECONDITION',
    'no',
    'No trusted key has signed the bundle. The message names the keys and the remedy.',
  ),
  record_corrupt: entry(
    15,
    'DATA_LOSS',
    'no',
    'Stored bytes are not a valid record: the next append moves them to another key. Or a row has a slot that the pool lacks: delete the user.',
  ),
  conflict: entry(10, 'ABORTED', 'once', 'Another writer changed the record between read and write.'),
  overloaded: entry(
    8,
    'RESOURCE_EXHAUSTED',
    'backoff',
    'More requests come than the service can answer, a queue is at its bound, Redis is at its memory limit, or a disk is full.',
  ),
  dependency_unavailable: entry(
    14,
    'UNAVAILABLE',
    'backoff',
    'Redis or another service cannot be reached, or a folder cannot be written.',
  ),
  draining: entry(14, 'UNAVAILABLE', 'backoff', 'The service is shutting down.'),
  deadline: entry(4, 'DEADLINE_EXCEEDED', 'no', 'The deadline passed.'),
  cancelled: entry(1, 'CANCELLED', 'no', 'The caller cancelled the call.'),
  unauthenticated: entry(16, 'UNAUTHENTICATED', 'no', 'The token is missing or wrong.'),
  permission_denied: entry(
    7,
    'PERMISSION_DENIED',
    'no',
    'The token lacks the role of this call. The message names it.',
  ),
  provider_missing: entry(9, 'FAILED_PRECONDITION', 'no', 'The execution provider is not installed.'),
  bug: entry(13, 'INTERNAL', 'no', 'A defect in the service. The service log has the cause.'),
} as const satisfies Record<string, ReasonEntry>;

/** A key of {@link REASONS}. */
export type Reason = keyof typeof REASONS;

/** The optional parts of a {@link CkvError}. */
export interface CkvErrorDetails {
  /** Path of the field at fault: `appends[3].rows`. */
  readonly field?: string | undefined;
  /** Delay after which a retry may succeed. */
  readonly retryAfterMs?: number | undefined;
  /** Goes to the log, never to the caller. */
  readonly cause?: unknown;
}

/** The one error class: a reason from {@link REASONS} and a message that the caller may read. */
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
 * Returns an `invalid_request` error.
 * @param field path of the field: `candidate_ids[7]`
 * @param problem what is wrong, with the limit: `has 300 bytes, at most 256 are allowed`
 * @param remedy what to do: `send a shorter id`
 */
export function invalidRequest(field: string, problem: string, remedy: string): CkvError {
  return new CkvError('invalid_request', `${field}: ${problem}; ${remedy}`, { field });
}

/** Returns a thrown CkvError as it is. Turns any other thrown value into a `bug` with a fixed text and that cause. */
export function toCkvError(thrown: unknown): CkvError {
  if (thrown instanceof CkvError) return thrown;
  return new CkvError('bug', 'internal error; the service log has its cause', { cause: thrown });
}
