import { describe, expect, it } from 'vitest';
import { createRoutes } from './routes.js';

const CALLER = { token: '', signal: new AbortController().signal, timeoutMs: 1_000 };
/** Nothing of these is reached: the requests are refused before. */
const routes = createRoutes({
  session: { tokens: false, writes: true, queue: false },
  fleet: undefined as never,
  upstream: {} as never,
  queue: undefined,
  changes: undefined as never,
});

/** Returns the message of a refused request. */
async function refusal(name: string, request: unknown): Promise<string> {
  const outcome = await Promise.resolve()
    .then(() => routes[name]?.answer(request, CALLER))
    .catch((error) => error);
  expect(outcome).toMatchObject({ reason: 'invalid_request' });
  return outcome.message;
}

describe('requests beyond their bounds name the field and the remedy', () => {
  const score = { userId: 'u', itemIds: ['i'] };
  it.each([
    ['user', null, /^request: /],
    ['user', {}, /^userId: /],
    ['user', { userId: '' }, /^userId: is missing or empty/],
    ['user', { userId: 'x'.repeat(257) }, /^userId: has 257 bytes, at most 256/],
    ['user', { userId: 'u', limit: 1_001 }, /^limit: /],
    ['user', { userId: 'u', limit: 0.5 }, /^limit: /],
    ['user', { userId: 'u', bundleId: 'x' }, /^bundleId: is not 16 hexadecimal characters; leave it empty/],
    ['user', { userId: 'u', more: 1 }, /^request: /],
    ['score', { ...score, itemIds: [] }, /^itemIds: has 0 items, 1 to 500 are allowed; name one/],
    ['score', { ...score, itemIds: Array(501).fill('i') }, /^itemIds: has 501 items/],
    ['score', { ...score, itemIds: ['i', ''] }, /^itemIds\[1\]: /],
    ['explain', { ...score, itemIds: Array(11).fill('i') }, /^itemIds: has 11 items, 1 to 10 are allowed; name fewer/],
    ['pool', { bundleId: '0' }, /^bundleId: /],
    ['queue', { limit: 501 }, /^limit: /],
    ['queue', {}, /set CKV_QUEUE_REDIS_URL/],
    ['bundles/activate', {}, /^bundleId: /],
    ['bundles/activate', { bundleId: '' }, /^bundleId: is not 16 hexadecimal characters; send the id/],
    ['bundles/rollback', { force: 'yes' }, /^force: /],
    ['queue/retry', { ids: Array(501).fill('a') }, /^ids: /],
    ['queue/retry', { ids: [''] }, /^ids\.0: /],
  ])('%s %#', async (name, request, message) => {
    expect(await refusal(name, request)).toMatch(message);
  });
});

it('marks every change, and nothing else, as one', () => {
  const changes = Object.entries(routes).filter(([, { changes }]) => changes);
  expect(changes.map(([name]) => name)).toEqual(['bundles/activate', 'bundles/rollback', 'queue/retry']);
});
