import type { RankResponse } from '@collectivekv/contracts';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGrpcClient, type GrpcClient } from '../client/grpc-client.js';
import { errorFrom } from '../errors/grpc-errors.js';
import { services } from '../wire/services.js';
import type { CallContext } from './call-context.js';
import { createGrpcServer, type GrpcServer } from './grpc-server.js';

const TOKEN = 'a-token-of-24-characters';
const IDLE_MS = 2_000; // a few of them stay below the 30 s after which HTTP/2 pings its peer
const { path, requestSerialize } = services.RankingService.service.RankStream;
const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
/** Names of the rpcs whose requests were settled. */
let settled: string[];
const metrics = { rpcSeconds: { observe: ({ rpc }: { rpc: string }) => void settled.push(rpc) } };
let server: GrpcServer;
let address: string;
/** Users whose requests the handler has begun. */
let begun: string[];
let perform: (userId: string, call: CallContext) => Promise<RankResponse>;
const closing: (() => void)[] = [];

async function start(token = ''): Promise<void> {
  server = createGrpcServer({ bind: '127.0.0.1:0', token, log, metrics, idleTimeoutMs: IDLE_MS });
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

/** Our own client, which keeps the rules of the stream. */
function ourClient(token = ''): GrpcClient<'RankingService'> {
  const made = createGrpcClient('RankingService', address, { token });
  closing.push(made.close);
  return made;
}

const ask = (client: GrpcClient<'RankingService'>, userId: string, limits = {}) =>
  client.callOnStream('RankStream', { userId, candidateIds: ['i'] }, limits);

/** A connection of grpc-js alone: a test may break every rule on it. */
function connect(): Client {
  const client = new Client(address, credentials.createInsecure());
  closing.push(client.close.bind(client));
  return client;
}

function openStream(client: Client = connect()): ClientDuplexStream<Buffer, Buffer> {
  const asIs = (bytes: Buffer) => bytes;
  const stream = client.makeBidiStreamRequest(path, asIs, asIs, new Metadata());
  stream.on('error', () => undefined);
  closing.push(() => stream.cancel());
  return stream;
}

const requestOf = (userId: string) => requestSerialize({ userId, candidateIds: ['i'] });
const failureOf = (stream: ClientDuplexStream<Buffer, Buffer>) =>
  new Promise((resolve) => stream.on('error', (error) => resolve(errorFrom(error as ServiceError))));
const nextAnswer = (stream: ClientDuplexStream<Buffer, Buffer>) =>
  new Promise((resolve) => stream.once('data', resolve));

beforeEach(() => {
  // A poll moves this clock, too, by up to a second.
  vi.useFakeTimers({ toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] });
  begun = [];
  settled = [];
  perform = async (userId) => ({ scores: Buffer.from(userId) });
});
afterEach(async () => {
  vi.useRealTimers();
  for (const close of closing.splice(0).reverse()) close();
  await server.drain(0);
});

describe('a stream of requests', () => {
  it('answers each request, and counts each', async () => {
    await start();
    const client = ourClient();
    for (const userId of ['a', 'b', 'c']) {
      expect(String((await ask(client, userId)).scores)).toBe(userId);
    }
    expect(settled).toEqual(Array(3).fill('RankingService/RankStream'));
  });

  it('reads the next request only after it has answered the previous one', async () => {
    await start();
    const finish: (() => void)[] = [];
    perform = (userId) => {
      if (userId === 'behind') return Promise.resolve({});
      return new Promise((resolve) => finish.push(() => resolve({ scores: Buffer.from(userId) })));
    };
    const client = connect();
    const stream = openStream(client);
    const answers: Buffer[] = [];
    stream.on('data', (bytes) => answers.push(bytes));
    for (const userId of ['a', 'b', 'c']) stream.write(requestOf(userId));
    stream.end();
    await expect.poll(() => begun).toEqual(['a']);
    // The answer to a request behind them on the same connection shows that b and c have arrived.
    const other = openStream(client);
    other.write(requestOf('behind'));
    await nextAnswer(other);
    expect(begun).toEqual(['a', 'behind']);
    finish[0]?.();
    await expect.poll(() => begun).toEqual(['a', 'behind', 'b']);
    const ended = new Promise<void>((resolve) => stream.on('end', resolve));
    finish[1]?.();
    await expect.poll(() => begun).toEqual(['a', 'behind', 'b', 'c']);
    finish[2]?.();
    await ended;
    expect(answers).toHaveLength(3);
  });

  it('reads no more requests while the caller does not read the answers', async () => {
    await start();
    perform = async (userId) => ({ scores: Buffer.alloc(userId === 'other' ? 1 : 100_000) });
    const stream = openStream();
    stream.once('data', () => stream.pause());
    for (let i = 0; i < 500; i++) stream.write(requestOf(`u${i}`));
    await expect.poll(() => begun.length).toBeGreaterThan(0);
    const other = ourClient();
    const begunHere = () => begun.filter((userId) => userId !== 'other').length;
    for (let before = -1; before !== begunHere(); ) {
      before = begunHere();
      for (let i = 0; i < 50; i++) await ask(other, 'other'); // turns in which the server could read more
    }
    expect(begunHere()).toBeLessThan(250);
    let answered = 1;
    stream.on('data', () => answered++).resume();
    await expect.poll(() => answered, { timeout: 10_000 }).toBe(500);
  });

  it('ends with the first failure, its reason and field', async () => {
    await start();
    const client = ourClient();
    perform = async () => {
      throw invalidRequest('candidate_ids', 'is wrong', 'correct it');
    };
    const error = { reason: 'invalid_request', field: 'candidate_ids' };
    await expect(ask(client, 'a')).rejects.toMatchObject(error);
    perform = async (userId) => ({ scores: Buffer.from(userId) });
    expect(String((await ask(client, 'b')).scores)).toBe('b');
  });

  it('refuses bytes that are not a request', async () => {
    await start();
    const stream = openStream();
    const failed = failureOf(stream);
    stream.write(Buffer.from([0xfa, 0x3e]));
    expect(await failed).toMatchObject({ reason: 'invalid_request', field: 'request' });
    expect(begun).toEqual([]);
  });

  it('ends after the idle time without a request', async () => {
    await start();
    let over = false;
    openStream()
      .resume()
      .on('end', () => {
        over = true;
      });
    await expect
      .poll(() => {
        vi.advanceTimersByTime(IDLE_MS);
        return over;
      })
      .toBe(true);
  });

  it('does not end while a request is answered, however long that takes, and waits the idle time afterwards', async () => {
    await start();
    perform = async (userId) => {
      vi.advanceTimersByTime(2 * IDLE_MS);
      return { scores: Buffer.from(userId) };
    };
    const stream = openStream();
    let over = false;
    stream.on('end', () => {
      over = true;
    });
    for (const userId of ['a', 'b', 'c']) {
      stream.write(requestOf(userId));
      await nextAnswer(stream);
      vi.advanceTimersByTime(IDLE_MS - 1);
      expect(over).toBe(false);
    }
    vi.advanceTimersByTime(1);
    stream.resume();
    await expect.poll(() => over).toBe(true);
  });

  it('is refused without the token', async () => {
    await start(TOKEN);
    expect(await failureOf(openStream())).toMatchObject({ reason: 'unauthenticated' }); // before it sends a request
    await expect(ask(ourClient(), 'a')).rejects.toMatchObject({ reason: 'unauthenticated' });
    expect(String((await ask(ourClient(TOKEN), 'a')).scores)).toBe('a');
  });

  it.each([
    ['at its deadline', () => vi.advanceTimersByTime(10_000), /deadline|cancelled/],
    ['by its signal', (controller: AbortController) => controller.abort(), /cancelled/],
  ])('tells the handler that the caller gave up, %s', async (_, giveUp, reason) => {
    await start();
    const told = new Promise((resolve) => {
      perform = (_userId, { signal }) => {
        signal.addEventListener('abort', () => resolve(signal.reason));
        return new Promise(() => undefined);
      };
    });
    const controller = new AbortController();
    const call = ask(ourClient(), 'a', { deadlineMs: Date.now() + 10_000, signal: controller.signal });
    const failed = expect(call).rejects.toMatchObject({ reason: expect.stringMatching(reason) });
    await expect.poll(() => begun).toEqual(['a']);
    giveUp(controller);
    await failed;
    expect(await told).toMatchObject({ reason: expect.stringMatching(reason) });
  });

  it('tells the handler the deadline of each caller', async () => {
    await start();
    const deadlines: number[] = [];
    perform = async (_userId, call) => {
      deadlines.push(call.deadlineMs);
      return {};
    };
    const wanted = [Date.now() + 5_000, Date.now() + 90_000];
    for (const deadlineMs of wanted) await ask(ourClient(), 'a', { deadlineMs });
    expect(deadlines).toEqual(wanted);
  });

  it('holds each request to its own timeout', async () => {
    await start();
    perform = (userId) => (userId === 'slow' ? new Promise(() => undefined) : Promise.resolve({}));
    const stream = openStream();
    const failed = failureOf(stream);
    const timed = (userId: string, timeoutMs: number) => requestSerialize({ userId, candidateIds: ['i'], timeoutMs });
    stream.write(timed('quick', 1_000));
    await nextAnswer(stream);
    vi.advanceTimersByTime(1_500); // the timeout of a request that was answered ends nothing
    stream.write(timed('slow', 5_000));
    await expect.poll(() => begun).toEqual(['quick', 'slow']);
    vi.advanceTimersByTime(5_000);
    expect(await failed).toMatchObject({ reason: 'deadline' });
  });

  it('leaves no timer of an answered request behind', async () => {
    await start();
    const stream = openStream();
    const timerCounts = [];
    for (const userId of ['a', 'b', 'c']) {
      stream.write(requestOf(userId));
      await nextAnswer(stream);
      timerCounts.push(vi.getTimerCount());
    }
    expect(new Set(timerCounts).size).toBe(1);
  });

  it('ends when the service shuts down: at once if it is idle, otherwise with the answer', async () => {
    await start();
    const [idle, busy] = [openStream(), openStream()]; // a caller that never ends a stream
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
