// The client against a real gRPC server whose ranking is known.
import type { RankRequest__Output, RankResponse } from '@collectivekv/contracts';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import { readIds } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type CollectiveKvClient, createCollectiveKvClient } from './client.js';

let server: GrpcServer;
let address: string;
let kv: CollectiveKvClient;
/** Names of the rpcs, in order. */
let rpcs: string[];

const bytesOf = (values: Float32Array | Uint32Array) => Buffer.from(values.buffer);

/** The last candidate is the best. Its score is its place. */
async function rank({ userId, candidateIds, ...request }: RankRequest__Output, at: string): Promise<RankResponse> {
  if (userId === 'everybody') throw new CkvError('overloaded', 'too many');
  if (userId === 'nobody') throw invalidRequest(`${at}user_id`, 'is unwelcome', 'send another');
  expect(candidateIds).toEqual([]);
  const { candidateIdText: text, candidateIdLengths: lengths } = request;
  const scores = Float32Array.from({ length: readIds({ text, lengths }, 'lengths').length }, (_, i) => i);
  return {
    scores: bytesOf(scores),
    order: bytesOf(Uint32Array.from(scores).reverse()),
    info: { rung: 'DEGRADATION_RUNG_FULL' },
  };
}

beforeEach(async () => {
  rpcs = [];
  server = createGrpcServer({
    bind: '127.0.0.1:0',
    log: { debug: () => undefined, warn: () => undefined, error: () => undefined },
    metrics: { rpcSeconds: { observe: ({ rpc }) => void rpcs.push(rpc) } },
  });
  server.add('RankingService', {
    Rank: (request) => rank(request, ''),
    RankStream: (request) => rank(request, ''),
    async RankMany({ requests }) {
      const outcomes = requests.map(async (request, i) => {
        try {
          return { response: await rank(request, `requests[${i}].`) };
        } catch (error) {
          const { reason, message } = error as CkvError;
          return { failure: { reason, message } };
        }
      });
      return { outcomes: await Promise.all(outcomes) };
    },
  });
  ({ address } = await server.start());
  kv = createCollectiveKvClient({ rankingTarget: address });
});
afterEach(async () => {
  kv.close();
  await server.drain(0);
});

it('names the items that it sent, though the caller changes its list in the meantime', async () => {
  const candidateIds = ['a', 'é', 'c'];
  const ranking = kv.rank({ userId: 'u', candidateIds });
  candidateIds.reverse();
  expect((await ranking).ranked).toEqual([
    { itemId: 'c', score: 2 },
    { itemId: 'é', score: 1 },
    { itemId: 'a', score: 0 },
  ]);
});

it.each([
  [true, 'RankingService/RankStream'],
  [false, 'RankingService/Rank'],
])('with rankStreams %s ranks by %s', async (rankStreams, rpc) => {
  const other = createCollectiveKvClient({ rankingTarget: address, rankStreams });
  await other.rank({ userId: 'u', candidateIds: ['a'] });
  other.close();
  expect(rpcs).toEqual([rpc]);
});

it('returns the error of each request of rankMany that has no answer', async () => {
  const candidateIds = ['a', 'b'];
  const asked = kv.rankMany([
    { userId: 'u', candidateIds },
    { userId: 'nobody', candidateIds },
    { userId: 'u', candidateIds, topK: 1.5 },
    { userId: 'u', candidateIds: ['c'] },
  ]);
  candidateIds.reverse();
  const [ranking, refused, wrong, last] = await asked;
  expect(ranking).toMatchObject({ ranked: [{ itemId: 'b' }, { itemId: 'a' }] });
  expect(refused).toBeInstanceOf(CkvError);
  expect(refused).toMatchObject({
    reason: 'invalid_request',
    field: 'inputs[1].userId',
    message: 'inputs[1].userId: is unwelcome; send another',
  });
  expect(wrong).toMatchObject({ reason: 'invalid_request', field: 'inputs[2].topK' });
  expect(last).toMatchObject({ ranked: [{ itemId: 'c' }] });
});

it('names the place in the list of the caller, though requests before it were not sent', async () => {
  const asked = kv.rankMany([
    { userId: '', candidateIds: ['a'] },
    { userId: 'nobody', candidateIds: ['a'] },
  ]);
  expect(await asked).toMatchObject([{ field: 'inputs[0].userId' }, { field: 'inputs[1].userId' }]);
});

it('calls nothing if no request of rankMany can be sent', async () => {
  const errors = await kv.rankMany([{ userId: '', candidateIds: ['a'] }]);
  expect(errors).toMatchObject([{ reason: 'invalid_request', field: 'inputs[0].userId' }]);
  expect(rpcs).toEqual([]);
});

it('fails with the error of the service, and does not repeat a refused request', async () => {
  await expect(kv.rank({ userId: 'nobody', candidateIds: ['a'] })).rejects.toMatchObject({
    field: 'userId',
    message: 'userId: is unwelcome; send another',
  });
  expect(rpcs).toHaveLength(1);
});

it('is answered by another server if one hangs', async () => {
  const hanging = createGrpcServer({
    bind: '127.0.0.1:0',
    log: { debug: () => undefined, warn: () => undefined, error: () => undefined },
    metrics: { rpcSeconds: { observe: () => undefined } },
  });
  const never = vi.fn(() => new Promise<never>(() => undefined));
  hanging.add('RankingService', { Rank: never, RankStream: never, RankMany: never });
  const target = `${address},${(await hanging.start()).address}`;
  const two = createCollectiveKvClient({ rankingTarget: target, rankTimeoutMs: 2_000 });
  const input = { userId: 'u', candidateIds: ['a'] };
  await vi.waitUntil(async () => {
    await Promise.all(Array.from({ length: 4 }, () => two.rank(input)));
    return never.mock.calls.length > 2;
  }, 20_000);
  two.close();
  await hanging.drain(0);
});

it('tries refused calls again until its budget is spent', async () => {
  const client = createCollectiveKvClient({ rankingTarget: address, maxAttempts: 2, rankTimeoutMs: 30_000 });
  const calls = Array.from({ length: 150 }, () => client.rank({ userId: 'everybody', candidateIds: ['a'] }));
  const outcomes = await Promise.allSettled(calls);
  expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
  expect(rpcs.length).toBe(150 + 100);
  client.close();
});

it('is answered by another server if one refuses, with two tries', async () => {
  const refusing = createGrpcServer({
    bind: '127.0.0.1:0',
    log: { debug: () => undefined, warn: () => undefined, error: () => undefined },
    metrics: { rpcSeconds: { observe: () => undefined } },
  });
  const refuse = vi.fn(async () => {
    throw new CkvError('dependency_unavailable', 'no bundle is loaded yet');
  });
  refusing.add('RankingService', { Rank: refuse, RankStream: refuse, RankMany: refuse });
  const target = `${address},${(await refusing.start()).address}`;
  const two = createCollectiveKvClient({ rankingTarget: target, rankTimeoutMs: 10_000, maxAttempts: 2 });
  const input = { userId: 'u', candidateIds: ['a'] };
  const answered = await Promise.allSettled([two.rank(input), two.rank(input)]); // connects
  expect(answered).toHaveLength(2);
  await vi.waitUntil(async () => {
    await Promise.all(Array.from({ length: 20 }, () => two.rank(input)));
    return refuse.mock.calls.length > 40;
  }, 20_000);
  two.close();
  await refusing.drain(0);
});
