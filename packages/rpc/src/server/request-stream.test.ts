import { setTimeout as sleep } from 'node:timers/promises';
import type { RankResponse } from '@collectivekv/contracts';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createGrpcClient, type GrpcClient } from '../client/grpc-client.js';
import { errorFrom } from '../errors/grpc-errors.js';
import { services } from '../wire/services.js';
import type { CallContext } from './call-context.js';
import { createGrpcServer, type GrpcServer } from './grpc-server.js';

const TOKEN = 'a-token-of-24-characters';
const { path, requestSerialize } = services.RankingService.service.RankStream;
const log = { debug: () => undefined, error: () => undefined };
/** Names of the requests that were answered. */
let counted: string[];
const metrics = { rpcSeconds: { observe: ({ rpc }: { rpc: string }) => void counted.push(rpc) } };
let server: GrpcServer;
let address: string;
/** Users whose requests were begun. */
let begun: string[];
let perform: (userId: string, call: CallContext) => Promise<RankResponse>;
const closing: (() => void)[] = [];

async function start(token = '', idleTimeoutMs = 30_000): Promise<void> {
  server = createGrpcServer({ bind: '127.0.0.1:0', token, log, metrics, idleTimeoutMs });
  const unused = () => Promise.reject(new CkvError('bug', 'unused'));
  server.add('RankingService', {
    Rank: unused,
    RankMany: unused,
    RankStream({ userId }, call) {
      begun.push(userId);
      return perform(userId, call);
    },
  });
  ({ address } = await server.start());
}

function sdk(token = ''): GrpcClient<'RankingService'> {
  const made = createGrpcClient('RankingService', address, { token });
  closing.push(made.close);
  return made;
}

const ask = (client: GrpcClient<'RankingService'>, userId: string, limits = {}) =>
  client.callOnStream('RankStream', { userId, candidateIds: ['i'] }, limits);

/** A stream of somebody who keeps to no rules. */
function stranger(): ClientDuplexStream<Buffer, Buffer> {
  const client = new Client(address, credentials.createInsecure());
  const asIs = (bytes: Buffer) => bytes;
  const stream = client.makeBidiStreamRequest(path, asIs, asIs, new Metadata());
  stream.on('error', () => undefined);
  closing.push(() => {
    stream.cancel();
    client.close();
  });
  return stream;
}

const requestOf = (userId: string) => requestSerialize({ userId, candidateIds: ['i'] });
const failureOf = (stream: ClientDuplexStream<Buffer, Buffer>) =>
  new Promise((resolve) => stream.on('error', (error) => resolve(errorFrom(error as ServiceError))));

beforeEach(() => {
  begun = [];
  counted = [];
  perform = async (userId) => ({ scores: Buffer.from(userId) });
});
afterEach(async () => {
  for (const close of closing.splice(0)) close();
  await server.drain(0);
});

describe('a stream of requests', () => {
  it('answers each, and counts each', async () => {
    await start();
    const client = sdk();
    for (const userId of ['a', 'b', 'c']) {
      expect(String((await ask(client, userId)).scores)).toBe(userId);
    }
    expect(counted).toEqual(Array(3).fill('RankingService/RankStream'));
  });

  it('takes the next request when the one before is answered', async () => {
    await start();
    const finish: (() => void)[] = [];
    perform = (userId) => new Promise((resolve) => finish.push(() => resolve({ scores: Buffer.from(userId) })));
    const stream = stranger();
    const answers: Buffer[] = [];
    stream.on('data', (bytes) => answers.push(bytes));
    for (const userId of ['a', 'b', 'c']) stream.write(requestOf(userId));
    stream.end();
    await expect.poll(() => begun).toEqual(['a']);
    await sleep(50);
    expect(begun).toEqual(['a']);
    finish[0]?.();
    await expect.poll(() => begun).toEqual(['a', 'b']);
    const ended = new Promise<void>((resolve) => stream.on('end', resolve));
    finish[1]?.();
    await expect.poll(() => begun).toEqual(['a', 'b', 'c']);
    finish[2]?.();
    await ended;
    expect(answers).toHaveLength(3);
  });

  it('takes no more requests of a caller who does not read the answers', async () => {
    await start();
    perform = async () => ({ scores: Buffer.alloc(100_000) });
    const stream = stranger();
    stream.once('data', () => stream.pause());
    for (let i = 0; i < 500; i++) stream.write(requestOf(`u${i}`));
    await expect.poll(() => begun.length).toBeGreaterThan(0);
    let [before, now] = [-1, 0];
    while (before !== now) {
      before = now;
      await sleep(100);
      now = begun.length;
    }
    expect(begun.length).toBeLessThan(250);
    let answered = 1;
    stream.on('data', () => answered++).resume();
    await expect.poll(() => answered, { timeout: 10_000 }).toBe(500);
  });

  it('ends with the first failure, its reason and field', async () => {
    await start();
    const client = sdk();
    perform = async () => {
      throw invalidRequest('candidate_ids', 'is wrong', 'right it');
    };
    const error = { reason: 'invalid_request', field: 'candidate_ids' };
    await expect(ask(client, 'a')).rejects.toMatchObject(error);
    perform = async (userId) => ({ scores: Buffer.from(userId) });
    expect(String((await ask(client, 'b')).scores)).toBe('b');
  });

  it('refuses what is no request', async () => {
    await start();
    const stream = stranger();
    const failed = failureOf(stream);
    stream.write(Buffer.from([0xfa, 0x3e]));
    expect(await failed).toMatchObject({ reason: 'invalid_request', field: 'request' });
    expect(begun).toEqual([]);
  });

  it('ends when no request comes for long, not while one is answered', async () => {
    await start('', 200);
    const silent = stranger();
    const ended = new Promise((resolve) => silent.resume().on('end', () => resolve('ended')));
    expect(await ended).toBe('ended');
    perform = async (userId) => {
      await sleep(300);
      return { scores: Buffer.from(userId) };
    };
    const stream = stranger();
    let answered = 0;
    const over = new Promise((resolve) => stream.on('data', () => answered++).on('end', () => resolve('over')));
    stream.write(requestOf('a'));
    stream.write(requestOf('b'));
    expect(await over).toBe('over');
    expect(answered).toBe(2);
  });

  it('lets nobody in without the token', async () => {
    await start(TOKEN);
    expect(await failureOf(stranger())).toMatchObject({ reason: 'unauthenticated' }); // before it asks for anything
    await expect(ask(sdk(), 'a')).rejects.toMatchObject({ reason: 'unauthenticated' });
    expect(String((await ask(sdk(TOKEN), 'a')).scores)).toBe('a');
  });

  it.each([
    ['for want of time', () => ({ deadlineMs: Date.now() + 200 }), /deadline|cancelled/],
    ['of its own will', () => ({ signal: AbortSignal.timeout(100) }), /cancelled/],
  ])('tells the handler that its caller has gone, %s', async (_, limits, reason) => {
    await start();
    const told = new Promise((resolve) => {
      perform = (_userId, { signal }) => {
        signal.addEventListener('abort', () => resolve(signal.reason));
        return new Promise(() => undefined);
      };
    });
    await expect(ask(sdk(), 'a', limits())).rejects.toMatchObject({ reason: expect.stringMatching(reason) });
    expect(await told).toMatchObject({ reason: expect.stringMatching(reason) });
  });

  it('tells the handler how long the caller waits', async () => {
    await start();
    let deadlineMs = 0;
    perform = async (_userId, call) => {
      ({ deadlineMs } = call);
      return {};
    };
    for (const waitMs of [5_000, 90_000]) {
      const asked = Date.now() + waitMs;
      await ask(sdk(), 'a', { deadlineMs: asked });
      expect(Math.abs(deadlineMs - asked)).toBeLessThan(2_000);
    }
  });

  it('holds each request to its own timeout', async () => {
    await start();
    perform = (userId) => (userId === 'slow' ? new Promise(() => undefined) : Promise.resolve({}));
    const stream = stranger();
    const failed = failureOf(stream);
    stream.on('data', () => undefined);
    const timed = (userId: string, timeoutMs: number) => requestSerialize({ userId, candidateIds: ['i'], timeoutMs });
    stream.write(timed('quick', 50));
    await sleep(100);
    stream.write(timed('slow', 150));
    expect(await failed).toMatchObject({ reason: 'deadline' });
    expect(begun).toEqual(['quick', 'slow']);
  });

  it('ends when the service shuts down: at once where it is idle, else with the answer', async () => {
    await start();
    const [idle, busy] = [stranger(), stranger()]; // who never end a stream themselves
    const over: string[] = [];
    let answered = 0;
    idle.on('data', () => answered++).on('end', () => over.push('idle'));
    busy.on('data', () => answered++).on('end', () => over.push('busy'));
    idle.write(requestOf('idle'));
    await expect.poll(() => answered).toBe(1);
    let finish: () => void = () => undefined;
    perform = () =>
      new Promise((resolve) => {
        finish = () => resolve({});
      });
    busy.write(requestOf('busy'));
    await expect.poll(() => begun).toEqual(['idle', 'busy']);
    const drained = server.drain(20_000);
    await expect.poll(() => over).toEqual(['idle']);
    finish();
    await expect.poll(() => over).toEqual(['idle', 'busy']);
    expect(answered).toBe(2);
    await drained;
  });
});
