import { CkvError } from '@collectivekv/domain';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGrpcClient, type GrpcClient } from '../client/grpc-client.js';
import { type Admission, createAdmission } from './admission.js';
import type { CallContext } from './call-context.js';
import { createGrpcServer, type GrpcServer } from './grpc-server.js';

const OVERLOADED = { reason: 'overloaded', retryAfterMs: 100 };
const request = { userId: 'u', candidateIds: ['a'] };
/** Status names of the calls so far. */
let codes: string[];
/** Ends the calls in the handler, oldest first. */
let begun: (() => void)[];
let answer: (call: CallContext) => Promise<object>;
let admission: Admission;
let server: GrpcServer;
let client: GrpcClient<'RankingService'>;
let bare: Client;

beforeEach(() => start());

async function start(leastStarted = 1, token = ''): Promise<void> {
  codes = [];
  begun = [];
  answer = () => new Promise((resolve) => begun.push(() => resolve({})));
  admission = createAdmission({
    load: () => 'full',
    started: { least: leastStarted, most: leastStarted },
    mostWaiting: 1,
  });
  const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
  const metrics = { rpcSeconds: { observe: ({ code }: { code: string }) => void codes.push(code) } };
  server = createGrpcServer({ bind: '127.0.0.1:0', log, metrics, token });
  const handler = (_: unknown, call: CallContext) => answer(call);
  const handlers = { Rank: handler, RankStream: handler, RankMany: handler };
  server.add('RankingService', handlers, { admission, admitsParts: ['RankMany'] });
  const { address } = await server.start();
  client = createGrpcClient('RankingService', address, { token });
  bare = new Client(address, credentials.createInsecure());
}

async function stop(): Promise<void> {
  client.close();
  bare.close();
  await server.drain(0);
}
afterEach(stop);

/** Sends bytes that are no message, and returns the error. */
function sendGarbage(): Promise<ServiceError> {
  const same = (bytes: Buffer) => bytes;
  const garbage = Buffer.from([0x0a, 0xff]);
  return new Promise((resolve, reject) => {
    bare.makeUnaryRequest('/collectivekv.v1.RankingService/Rank', same, same, garbage, (error) =>
      error ? resolve(error) : reject(new Error('the garbage was answered')),
    );
  });
}

/** Has one call begun and one waiting. Returns their answers. */
async function fill(): Promise<Promise<unknown>[]> {
  const calls = [client.call('Rank', request)];
  await vi.waitUntil(() => begun.length === 1);
  calls.push(client.call('Rank', request));
  await vi.waitUntil(() => admission.waitingCount === 1);
  return calls;
}

describe('a server whose places are taken', () => {
  it('refuses calls with a delay before it reads their messages, and counts them', async () => {
    expect((await sendGarbage()).code).toBe(status.INVALID_ARGUMENT);
    const calls = await fill();
    const refused = await sendGarbage();
    expect(refused.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(refused.metadata.get('ckv-retry-after-ms')).toEqual(['100']);
    await expect(client.call('Rank', request)).rejects.toMatchObject(OVERLOADED);
    expect(codes).toEqual(['INVALID_ARGUMENT', 'RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED']);
    begun.shift()?.();
    await vi.waitUntil(() => begun.length === 1);
    begun.shift()?.();
    await Promise.all(calls);
    expect(codes.slice(3)).toEqual(['OK', 'OK']);
  });

  it('tells callers without a token so, and does not count them', async () => {
    await stop();
    await start(1, 'a-token-of-16-bytes');
    const calls = await fill();
    const refuse = vi.spyOn(admission, 'refuse');
    for (let i = 0; i < 3; i++) expect((await sendGarbage()).code).toBe(status.UNAUTHENTICATED);
    expect(refuse).not.toHaveBeenCalled();
    expect(codes).toEqual(Array(3).fill('UNAUTHENTICATED'));
    await expect(client.call('Rank', request)).rejects.toMatchObject(OVERLOADED);
    expect(refuse).toHaveBeenCalledTimes(1);
    begun.shift()?.();
    await vi.waitUntil(() => begun.length === 1);
    begun.shift()?.();
    await Promise.all(calls);
  });

  it('refuses streams with a delay, when they open and while they are open', async () => {
    answer = async () => ({});
    await client.callOnStream('RankStream', request); // opens a stream
    answer = () => new Promise((resolve) => begun.push(() => resolve({})));
    const calls = await fill();
    await expect(client.callOnStream('RankStream', request)).rejects.toMatchObject(OVERLOADED);
    await expect(client.callOnStream('RankStream', request)).rejects.toMatchObject(OVERLOADED);
    begun.shift()?.();
    await vi.waitUntil(() => begun.length === 1);
    begun.shift()?.();
    await Promise.all(calls);
    answer = async () => ({});
    await client.callOnStream('RankStream', request);
  });

  it('never begins a call whose caller gave up or whose deadline passed while it waited', async () => {
    const first = client.call('Rank', request);
    await vi.waitUntil(() => begun.length === 1);
    const controller = new AbortController();
    const given = client.call('Rank', request, { signal: controller.signal });
    await vi.waitUntil(() => admission.waitingCount === 1);
    controller.abort(new CkvError('cancelled', 'enough'));
    await expect(given).rejects.toThrow('enough');
    await vi.waitUntil(() => codes.includes('CANCELLED'));
    const late = client.callOnStream('RankStream', request, { deadlineMs: Date.now() + 50 });
    await expect(late).rejects.toMatchObject({ reason: 'deadline' });
    await vi.waitUntil(() => codes.length === 2);
    begun.shift()?.();
    await first;
    expect(admission.waitingCount).toBe(0);
    expect(begun).toEqual([]);
  });

  it('lets a method pass that admits the parts of its requests on its own', async () => {
    answer = (call) => admission.run(call, () => new Promise((resolve) => begun.push(() => resolve({}))));
    const many = client.call('RankMany', { requests: [] });
    await vi.waitUntil(() => begun.length === 1);
    begun.shift()?.();
    await many;
  });
});

it('slow methods take no places from the others, and have ten', async () => {
  const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
  const slow = createGrpcServer({ bind: '127.0.0.1:0', log, metrics: { rpcSeconds: { observe: () => undefined } } });
  const unused = () => Promise.reject(new CkvError('bug', 'unused'));
  const Stats = vi.fn(() => new Promise<object>((resolve) => begun.push(() => resolve({}))));
  const handlers = {
    GetRecords: async () => ({ records: [] }),
    Stats,
    AppendPositions: unused,
    ReplaceRecord: unused,
    DeleteRecord: unused,
    DeletePosition: unused,
    DropRecords: unused,
  };
  slow.add('UserCacheService', handlers, { admission, slowMethods: ['Stats'] });
  const { address } = await slow.start();
  const caller = createGrpcClient('UserCacheService', address);
  const stats = Array.from({ length: 11 }, () => caller.call('Stats', {}));
  const refused = await Promise.race(stats).catch((error: unknown) => error);
  expect(refused).toMatchObject(OVERLOADED);
  expect(await caller.call('GetRecords', { encodingId: '', userIds: [] })).toEqual({ records: [] });
  expect(Stats).toHaveBeenCalledTimes(2);
  for (let i = 0; i < 10; i++) {
    await vi.waitUntil(() => begun.length > 0);
    begun.shift()?.();
  }
  expect((await Promise.allSettled(stats)).filter(({ status }) => status === 'fulfilled').length).toBe(10);
  caller.close();
  await slow.drain(0);
});

it('a connection has 1,024 calls at most: the others wait in the caller', async () => {
  await stop();
  await start(5_000);
  let [openCount, mostOpen] = [0, 0];
  answer = async () => {
    mostOpen = Math.max(mostOpen, ++openCount);
    await new Promise<void>((resolve) => begun.push(resolve));
    openCount--;
    return {};
  };
  const calls = Promise.all(Array.from({ length: 1_100 }, () => client.call('Rank', request)));
  await vi.waitUntil(() => begun.length === 1_024, { timeout: 60_000 });
  for (let i = 0; i < 1_100; i++) {
    await vi.waitUntil(() => begun.length > 0, { timeout: 60_000 });
    begun.shift()?.();
  }
  await calls;
  expect(mostOpen).toBe(1_024);
}, 180_000); // a busy machine
