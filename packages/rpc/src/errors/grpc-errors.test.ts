import { CkvError, REASONS, type Reason } from '@collectivekv/domain';
import { status } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { errorFrom, statusOf } from './grpc-errors.js';
import { failed, serviceError } from './service-error.js';

/** A failure as its caller gets it. */
const received = (error: CkvError) => errorFrom(serviceError(statusOf(error)));

it.each(Object.keys(REASONS) as Reason[])('carries %s with its text, field and delay, without its cause', (reason) => {
  const cause = new Error('secret');
  const sent = new CkvError(reason, 'text', { field: 'appends[3].rows', retryAfterMs: 70, cause });
  expect(statusOf(sent).code).toBe(REASONS[reason].status);
  expect(received(sent)).toMatchObject({ reason, message: 'text', field: 'appends[3].rows', retryAfterMs: 70 });
  expect(JSON.stringify([statusOf(sent).details, statusOf(sent).metadata.getMap()])).not.toContain('secret');
});

it('leaves field and delay undefined if they were not sent', () => {
  const { field, retryAfterMs } = received(new CkvError('draining', 'text'));
  expect([field, retryAfterMs]).toEqual([undefined, undefined]);
});

it('sends a field name that is not ASCII with question marks', () => {
  expect(received(new CkvError('invalid_request', 'text', { field: 'features.é' })).field).toBe('features.?');
});

it.each([
  [status.INVALID_ARGUMENT, 'invalid_request'],
  [status.UNAVAILABLE, 'dependency_unavailable'],
  [status.INTERNAL, 'dependency_unavailable'], // the transport's word for a broken connection
  [status.UNKNOWN, 'dependency_unavailable'],
  [status.DEADLINE_EXCEEDED, 'deadline'],
  [status.CANCELLED, 'cancelled'],
  [status.UNIMPLEMENTED, 'bug'],
])('reads status %s without a reason as %s', (code, reason) => {
  expect(errorFrom(serviceError(failed(code, 'text')))).toMatchObject({ reason, message: 'text' });
});

it('ignores a reason that it does not know', () => {
  const unknown = failed(status.UNAVAILABLE, 'text');
  unknown.metadata.set('ckv-reason', 'later_invention');
  expect(errorFrom(serviceError(unknown)).reason).toBe('dependency_unavailable');
});
