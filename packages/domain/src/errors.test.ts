import { describe, expect, it } from 'vitest';
import { CkvError, invalidRequest, REASONS, toCkvError } from './errors.js';

const GRPC_CODES: Record<string, number> = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
};

describe('REASONS', () => {
  it.each(Object.entries(REASONS))('gives %s the code of its gRPC status', (_, { status, statusName, meaning }) => {
    expect(status).toBe(GRPC_CODES[statusName]);
    expect(meaning).toMatch(/^[A-Z].*\.$/);
  });

  it('allows a retry with backoff for exactly the reasons that may pass by themselves', () => {
    const reasons = Object.entries(REASONS).filter(([, { retry }]) => retry === 'backoff');
    expect(reasons.map(([reason]) => reason)).toEqual(['overloaded', 'dependency_unavailable', 'draining']);
  });
});

describe('CkvError', () => {
  it('has a reason, a message, and details only if they are given', () => {
    const bare = new CkvError('conflict', 'text');
    expect(bare).toMatchObject({ name: 'CkvError', reason: 'conflict', message: 'text' });
    expect([bare.field, bare.retryAfterMs, 'cause' in bare]).toEqual([undefined, undefined, false]);
    const cause = new Error('inner');
    const full = new CkvError('overloaded', 'text', { field: 'f', retryAfterMs: 7, cause });
    expect(full).toMatchObject({ field: 'f', retryAfterMs: 7 });
    expect(full.cause).toBe(cause);
  });
});

describe('invalidRequest', () => {
  it('names the field, the problem and the remedy', () => {
    expect(invalidRequest('ids[7]', 'is empty', 'set it')).toMatchObject({
      reason: 'invalid_request',
      field: 'ids[7]',
      message: 'ids[7]: is empty; set it',
    });
  });
});

describe('toCkvError', () => {
  it('returns a CkvError as it is', () => {
    const error = new CkvError('conflict', 'text');
    expect(toCkvError(error)).toBe(error);
  });

  it.each([[new Error('secret')], ['secret'], [undefined]])('hides %s in a bug with a fixed text', (thrown) => {
    const error = toCkvError(thrown);
    expect(error).toMatchObject({ reason: 'bug', message: 'internal error; the service log has its cause' });
    expect(error.cause).toBe(thrown);
  });
});
