import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { errorFrom } from '../errors/grpc-errors.js';
import { services } from '../wire/services.js';
import { createGrpcClient } from './grpc-client.js';
import { createStreamCalls, type StreamCalls, type StreamCallsOptions } from './stream-calls.js';

type Stream = ServerDuplexStream<{ userId: string; topK: number }, { scores: Buffer }>;
type OnRequest = (stream: Stream, userId: string, number: number) => void;

const spec = services.RankingService.service.RankStream;
const answerOf = (text: string) => ({ scores: Buffer.from(text) });
/** Answers with the user and the number of the stream. */
const echo: OnRequest = (stream, userId, number) => stream.write(answerOf(`${userId}@${number}`));
let server: Server;
let address: string;
let client: Client;
let calls: StreamCalls;
/** The streams that the server has seen. */
let streams: Stream[];
/** Users whose requests the server has read. */
let asked: string[];
let onRequest: OnRequest;

beforeEach(async () => {
  // A poll moves this clock, too, by up to a second.
  vi.useFakeTimers({
    toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'],
  });
  streams = [];
  asked = [];
  onRequest = echo;
  server = new Server();
  server.addService(
    { RankStream: spec },
    {
      RankStream(stream: Stream) {
        const number = streams.push(stream) - 1;
        stream.on('data', ({ userId }) => {
          asked.push(userId);
          onRequest(stream, userId, number);
        });
        stream.on('end', () => stream.end());
        stream.on('error', () => undefined);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  address = `127.0.0.1:${port}`;
  client = new Client(address, credentials.createInsecure());
  open({ spread: 1, maxAgeMs: 60_000 });
});
afterEach(() => {
  calls.close();
  client.close();
  server.forceShutdown();
  vi.useRealTimers();
});

function open(options: StreamCallsOptions): void {
  calls = createStreamCalls(client, spec as never, new Metadata(), options);
}

async function ask(userId: string, limits = {}): Promise<string> {
  const { scores } = (await calls.call({ userId }, limits)) as { scores: Buffer };
  return String(scores);
}

const failure = (call: Promise<unknown>) => call.catch((error: ServiceError) => errorFrom(error)) as Promise<unknown>;

describe('streams', () => {
  it('are shared by calls that come one after the other', async () => {
    for (const userId of ['a', 'b', 'c']) expect(await ask(userId)).toBe(`${userId}@0`);
  });

  it('are as many as calls at a time, and are used again', async () => {
    const users = ['a', 'b', 'c', 'd'];
    const answers = await Promise.all(users.map((userId) => ask(userId)));
    expect(answers.map((answer) => answer[0])).toEqual(users);
    expect(new Set(answers.map((answer) => answer.slice(1))).size).toBe(4);
    await Promise.all(users.map((userId) => ask(userId)));
    expect(streams).toHaveLength(4);
  });

  it('are opened up to the spread before one is used again, the longest idle first', async () => {
    open({ spread: 3, maxAgeMs: 60_000 });
    const answers = [];
    for (let i = 0; i < 7; i++) answers.push(await ask('u'));
    expect(answers).toEqual(['u@0', 'u@1', 'u@2', 'u@0', 'u@1', 'u@2', 'u@0']);
  });

  it('are used again by a repeated call before others are opened, the one that answered last first', async () => {
    open({ spread: 3, maxAgeMs: 60_000 });
    await ask('a');
    await ask('b');
    const again = (await calls.call({ userId: 'c' }, { mayDouble: () => true })) as { scores: Buffer };
    expect(String(again.scores)).toBe('c@1');
    expect(streams).toHaveLength(2);
  });

  it('are two if a call is repeated and none is idle: the first response counts, and the other stream is cancelled', async () => {
    let cancelledCount = 0;
    onRequest = (stream, userId, number) => {
      if (number === 1) echo(stream, userId, number);
      else stream.on('cancelled', () => cancelledCount++);
    };
    const answer = (await calls.call({ userId: 'a' }, { mayDouble: () => true })) as { scores: Buffer };
    expect(String(answer.scores)).toBe('a@1');
    expect(streams).toHaveLength(2);
    await expect.poll(() => cancelledCount).toBe(1);
  });

  it('are one if the request may not be sent twice', async () => {
    const answer = (await calls.call({ userId: 'a' }, { mayDouble: () => false })) as { scores: Buffer };
    expect(String(answer.scores)).toBe('a@0');
    expect(streams).toHaveLength(1);
  });

  it('end after the idle time, and not while calls use them', async () => {
    open({ spread: 1, idleTimeoutMs: 1_000, maxAgeMs: 60_000 });
    for (let i = 0; i < 5; i++) {
      expect(await ask('a')).toBe('a@0');
      vi.advanceTimersByTime(900);
    }
    expect(streams[0]?.writableEnded).toBe(false);
    vi.advanceTimersByTime(600); // the next sweep
    await expect.poll(() => streams[0]?.writableEnded).toBe(true);
    expect(await ask('b')).toBe('b@1');
  });

  it('end at their age when they are idle', async () => {
    open({ spread: 1, maxAgeMs: 100, idleTimeoutMs: 10_000 });
    expect(await ask('a')).toBe('a@0');
    vi.advanceTimersByTime(5_000); // the next sweep
    await expect.poll(() => streams[0]?.writableEnded).toBe(true);
    expect(await ask('b')).toBe('b@1');
  });

  it('end with the answer of a call that outlasts their age', async () => {
    open({ spread: 1, maxAgeMs: 100, idleTimeoutMs: 60_000 });
    onRequest = (stream, userId, number) => {
      vi.advanceTimersByTime(200);
      echo(stream, userId, number);
    };
    expect(await ask('a')).toBe('a@0');
    await expect.poll(() => streams[0]?.writableEnded).toBe(true);
    expect(await ask('b')).toBe('b@1');
  });

  it('are cancelled if a response comes that no call waits for', async () => {
    onRequest = (stream, userId) => {
      stream.write(answerOf(userId));
      stream.write(answerOf('another'));
    };
    expect(await ask('a')).toBe('a');
    await expect.poll(() => streams[0]?.cancelled).toBe(true);
    expect(await ask('b')).toBe('b');
  });

  it('are all gone after a client is closed', async () => {
    const made = createGrpcClient('RankingService', address);
    await made.callOnStream('RankStream', { userId: 'a', candidateIds: [] });
    made.close();
    await expect.poll(() => streams[0]?.cancelled).toBe(true);
  });
});

describe('a call', () => {
  it('fails with the status that ends its stream; the next call gets another stream', async () => {
    onRequest = (stream) => {
      const metadata = new Metadata();
      metadata.set('ckv-reason', 'overloaded');
      metadata.set('ckv-retry-after-ms', '70');
      stream.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'full', metadata });
    };
    expect(await failure(ask('a'))).toMatchObject({ reason: 'overloaded', message: 'full', retryAfterMs: 70 });
    onRequest = echo;
    expect(await ask('b')).toBe('b@1');
  });

  it('moves to a new stream if the server ended its stream with OK, and fails if that ends, too', async () => {
    await ask('a');
    streams[0]?.end();
    expect(await ask('b')).toBe('b@1'); // whether the client has noticed the end or not
    onRequest = (stream) => stream.end();
    expect(await failure(ask('c'))).toMatchObject({ reason: 'draining' });
    expect(streams).toHaveLength(3);
  });

  it.each([
    ['deadline', () => vi.advanceTimersByTime(10_000)],
    ['cancelled', (controller: AbortController) => controller.abort()],
  ])('ends its stream when it gives up (%s); no other call gets that stream', async (reason, giveUp) => {
    await ask('a');
    onRequest = () => undefined;
    const controller = new AbortController();
    const given = failure(ask('b', { deadlineMs: Date.now() + 10_000, signal: controller.signal }));
    await expect.poll(() => asked).toEqual(['a', 'b']);
    giveUp(controller);
    expect(await given).toMatchObject({ reason });
    await expect.poll(() => streams[0]?.cancelled).toBe(true);
    onRequest = echo;
    expect(await ask('c')).toBe('c@1');
  });

  it('leaves no stream if it is cancelled in the turn in which it began', async () => {
    await ask('another'); // opens the connection
    onRequest = () => undefined;
    const given = Array.from({ length: 20 }, () => {
      const controller = new AbortController();
      const call = failure(ask('a', { signal: controller.signal }));
      controller.abort();
      return call;
    });
    for (const call of given) expect(await call).toMatchObject({ reason: 'cancelled' });
    await expect.poll(() => streams.filter(({ cancelled, writableEnded }) => !cancelled && !writableEnded)).toEqual([]);
  });

  it('is not touched by the deadline and the signal of the call before it', async () => {
    const controller = new AbortController();
    await ask('a', { deadlineMs: Date.now() + 10_000, signal: controller.signal });
    onRequest = (stream, userId, number) => {
      controller.abort();
      vi.advanceTimersByTime(20_000);
      echo(stream, userId, number);
    };
    expect(await ask('b')).toBe('b@0');
  });

  it('fails if its request cannot be written, and leaves the stream alone', async () => {
    await ask('a');
    await expect(calls.call({ userId: 'b', candidateIds: 7 }, {})).rejects.toMatchObject({
      details: expect.stringContaining('the request cannot be written'),
    });
    expect(await ask('c')).toBe('c@0');
  });

  it('that runs when the client is closed is answered, and then its stream ends', async () => {
    let answer: () => void = () => undefined;
    onRequest = (stream) => {
      answer = () => stream.write(answerOf('late'));
    };
    const running = ask('a');
    await expect.poll(() => asked).toEqual(['a']);
    calls.close();
    answer();
    expect(await running).toBe('late');
    await expect.poll(() => streams[0]?.writableEnded).toBe(true);
  });

  it('with an aborted signal fails, on a new stream as well', async () => {
    expect(await failure(ask('a', { signal: AbortSignal.abort() }))).toMatchObject({ reason: 'cancelled' });
    expect(await ask('b')).toMatch(/^b@/);
  });

  it('after the client was closed is refused with that reason', async () => {
    calls.close();
    expect(await failure(ask('a'))).toMatchObject({ reason: 'cancelled', message: 'the client was closed' });
  });

  it('to a stopped server fails with dependency_unavailable', async () => {
    server.forceShutdown();
    expect(await failure(ask('a'))).toMatchObject({ reason: 'dependency_unavailable' });
  });
});
