// The load generator against a real gRPC server. Its counts are compared with those of the server.
import { CkvError } from '@collectivekv/domain';
import { services } from '@collectivekv/rpc';
import { createGrpcServer, type GrpcServer } from '@collectivekv/rpc/server';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { FloodPlan } from './plan.js';
import { runFlood } from './run-flood.js';

const { Rank, RankStream } = services.RankingService.service;
/** User ids of the requests that reached the handler. */
let seen: string[];
let server: GrpcServer;
let port: number;

beforeEach(async () => {
  seen = [];
  const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
  server = createGrpcServer({ bind: '127.0.0.1:0', log, metrics: { rpcSeconds: { observe: () => undefined } } });
  const answer = async ({ userId }: { userId: string }) => {
    seen.push(userId);
    if (userId.startsWith('refuse')) throw new CkvError('overloaded', 'full', { retryAfterMs: 70 });
    if (userId.startsWith('fail')) throw new CkvError('conflict', 'no');
    if (userId.startsWith('hang')) await new Promise(() => undefined);
    return { scores: Buffer.alloc(40_000) };
  };
  const unused = () => Promise.reject(new CkvError('bug', 'unused'));
  server.add('RankingService', { Rank: answer, RankStream: answer, RankMany: unused });
  port = Number((await server.start()).address.split(':')[1]);
});
afterEach(() => server.drain(0));

/** Floods with one message for each user, in turn. */
async function flood(users: readonly string[], plan: Partial<FloodPlan>) {
  const { phases } = await runFlood({
    port,
    connections: 2,
    path: Rank.path,
    kind: 'calls',
    messages: users.map((userId) => Rank.requestSerialize({ userId })),
    timeoutMs: 20_000,
    seed: 1,
    phases: [{ name: 'flood', ratePerS: 400, durationMs: 500 }],
    ...plan,
  });
  return phases[0];
}

it.each([
  ['calls', Rank.path],
  ['streams', RankStream.path],
] as const)('counts the fate of every request on %s', async (kind, path) => {
  const counted = await flood(['answer', 'refuse', 'fail'], { kind, path });
  const countOf = (user: string) => seen.filter((one) => one === user).length;
  expect(countOf('refuse')).toBeGreaterThan(10);
  expect(counted).toMatchObject({
    sent: seen.length,
    answered: countOf('answer'),
    refused: countOf('refuse'),
    refusedWithDelay: countOf('refuse'),
    late: 0,
    failed: { 10: countOf('fail') },
  });
});

it('gives requests up at their deadline, and goes on', async () => {
  const counted = await flood(['answer', 'hang'], {
    timeoutMs: 2_000,
    phases: [{ name: '', inFlight: 4, durationMs: 500 }],
  });
  const answered = seen.filter((user) => user === 'answer').length;
  expect(counted).toMatchObject({ answered, late: (counted?.sent ?? 0) - answered });
  expect(counted?.late).toBeGreaterThan(0);
});

it('numbers requests where the plan says so', async () => {
  const digits = '0'.repeat(8);
  const message = Rank.requestSerialize({ userId: `answer ${digits}` });
  await flood([], { messages: [message], numberAt: [[message.indexOf(digits)]] });
  expect(new Set(seen).size).toBe(seen.length);
  expect([...seen].sort().slice(0, 2)).toEqual(['answer 00000000', 'answer 00000001']);
});
