import { setTimeout as sleep } from 'node:timers/promises';
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
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorFrom } from '../errors/grpc-errors.js';
import { services } from '../wire/services.js';
import { createGrpcClient } from './grpc-client.js';
import { createStreamCalls, type StreamCalls, type StreamCallsOptions } from './stream-calls.js';

type Stream = ServerDuplexStream<{ userId: string; topK: number }, { scores: Buffer }>;

const spec = services.RankingService.service.RankStream;
const answerOf = (text: string) => ({ scores: Buffer.from(text) });
let server: Server;
let address: string;
let client: Client;
let calls: StreamCalls;
let streams: Stream[];
/** What the server does with a request; by default it answers with the user and the number of the stream. */
let onRequest: (stream: Stream, userId: string, number: number) => void;

beforeEach(async () => {
  streams = [];
  onRequest = (stream, userId, number) => stream.write(answerOf(`${userId}@${number}`));
  server = new Server();
  server.addService(
    { RankStream: spec },
    {
      RankStream(stream: Stream) {
        const number = streams.push(stream) - 1;
        stream.on('data', ({ userId }) => onRequest(stream, userId, number));
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
});

function open(options: StreamCallsOptions): void {
  calls = createStreamCalls(client, spec as never, new Metadata(), options);
}

async function ask(userId: string, limits = {}): Promise<string> {
  const { scores } = (await calls.call({ userId }, limits)) as { scores: Buffer };
  return String(scores);
}

const failure = (call: Promise<unknown>) => call.catch((error: ServiceError) => errorFrom(error)) as Promise<unknown>;

describe('calls on streams', () => {
  it('one after the other share a stream', async () => {
    for (const userId of ['a', 'b', 'c']) expect(await ask(userId)).toBe(`${userId}@0`);
  });

  it('at a time have a stream each, and use them again', async () => {
    const users = ['a', 'b', 'c', 'd'];
    const answers = await Promise.all(users.map((userId) => ask(userId)));
    expect(answers.map((answer) => answer[0])).toEqual(users);
    expect(new Set(answers.map((answer) => answer.slice(1))).size).toBe(4);
    await Promise.all(users.map((userId) => ask(userId)));
    expect(streams).toHaveLength(4);
  });

  it('go round so many streams, though one would do', async () => {
    open({ spread: 3, maxAgeMs: 60_000 });
    const answers = [];
    for (let i = 0; i < 7; i++) answers.push(await ask('u'));
    expect(answers).toEqual(['u@0', 'u@1', 'u@2', 'u@0', 'u@1', 'u@2', 'u@0']);
    for (const stream of streams) stream.end();
    await sleep(500); // the ends are heard of
    const later = [await ask('u'), await ask('u'), await ask('u'), await ask('u')];
    expect(later).toEqual(['u@3', 'u@4', 'u@5', 'u@3']);
  });

  it('leave a stream that is idle, so that it holds no process', async () => {
    open({ spread: 1, idleTimeoutMs: 1_000, maxAgeMs: 60_000 });
    for (let i = 0; i < 5; i++) {
      expect(await ask('a')).toBe('a@0'); // in use it stays
      await sleep(300);
    }
    await expect.poll(() => streams[0]?.writableEnded).toBe(true);
    expect(await ask('b')).toBe('b@1');
  });

  it('leave a stream that is old, when it is idle', async () => {
    open({ spread: 1, maxAgeMs: 100 });
    const [first] = await Promise.all([ask('a'), sleep(150)]);
    expect(first).toBe('a@0');
    await expect.poll(() => streams[0]?.writableEnded).toBe(true);
    onRequest = async (stream, userId, number) => {
      await sleep(200); // longer than it lives
      stream.write(answerOf(`${userId}@${number}`));
    };
    expect(await ask('b')).toBe('b@1');
    await expect.poll(() => streams[1]?.writableEnded).toBe(true);
    expect(await ask('c')).toBe('c@2');
  });

  it('fail with the status that ends their stream; the next have another', async () => {
    onRequest = (stream) => {
      const metadata = new Metadata();
      metadata.set('ckv-reason', 'overloaded');
      metadata.set('ckv-retry-after-ms', '70');
      stream.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'full', metadata });
    };
    expect(await failure(ask('a'))).toMatchObject({ reason: 'overloaded', message: 'full', retryAfterMs: 70 });
    onRequest = (stream, userId, number) => stream.write(answerOf(`${userId}@${number}`));
    expect(await ask('b')).toBe('b@1');
  });

  it('have another stream where the service ended theirs in peace, and fail where it ends that, too', async () => {
    await ask('a');
    streams[0]?.end();
    expect(await ask('b')).toBe('b@1'); // whether the end has been heard of or not
    onRequest = (stream) => stream.end();
    expect(await failure(ask('c'))).toMatchObject({ reason: 'draining' });
    expect(streams).toHaveLength(3);
  });

  it.each([
    ['deadline', () => ({ deadlineMs: Date.now() + 50 })],
    ['cancelled', () => ({ signal: AbortSignal.timeout(50) })],
  ])('end with the stream at their end (%s), and no other call gets it', async (reason, limits) => {
    await ask('a');
    onRequest = () => undefined;
    expect(await failure(ask('b', limits()))).toMatchObject({ reason });
    await expect.poll(() => streams[0]?.cancelled).toBe(true);
    onRequest = (stream, userId, number) => stream.write(answerOf(`${userId}@${number}`));
    expect(await ask('c')).toBe('c@1');
  });

  it('that end in the turn in which they begin leave no stream', async () => {
    await ask('another'); // so that the channel is there
    onRequest = () => undefined;
    const calls = Array.from({ length: 20 }, () => {
      const controller = new AbortController();
      const call = failure(ask('a', { signal: controller.signal }));
      controller.abort();
      return call;
    });
    for (const call of calls) expect(await call).toMatchObject({ reason: 'cancelled' });
    await expect.poll(() => streams.filter(({ cancelled, writableEnded }) => !cancelled && !writableEnded)).toEqual([]);
  });

  it('are not touched by the end of a call before them', async () => {
    const controller = new AbortController();
    await ask('warm');
    await ask('a', { deadlineMs: Date.now() + 500, signal: controller.signal });
    onRequest = async (stream, userId, number) => {
      controller.abort();
      await sleep(700);
      stream.write(answerOf(`${userId}@${number}`));
    };
    expect(await ask('b')).toBe('b@0');
  });

  it('that nobody can write fail, and leave the stream alone', async () => {
    await ask('a');
    await expect(calls.call({ userId: 'b', candidateIds: 7 }, {})).rejects.toMatchObject({
      details: expect.stringContaining('the request cannot be written'),
    });
    expect(await ask('c')).toBe('c@0');
  });

  it('end a stream on which a response comes that nobody waits for', async () => {
    onRequest = (stream, userId) => {
      stream.write(answerOf(userId));
      stream.write(answerOf('another'));
    };
    expect(await ask('a')).toBe('a');
    await expect.poll(() => streams[0]?.cancelled).toBe(true);
    expect(await ask('b')).toBe('b');
  });

  it('that run when the client is closed are answered, then no stream is left', async () => {
    let answer: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      onRequest = (stream) => {
        answer = () => stream.write(answerOf('late'));
        resolve();
      };
    });
    const running = ask('a');
    await asked;
    calls.close();
    answer();
    expect(await running).toBe('late');
    await expect.poll(() => streams[0]?.writableEnded).toBe(true);
  });

  it('leave no stream behind when the client is closed', async () => {
    const made = createGrpcClient('RankingService', address);
    await made.callOnStream('RankStream', { userId: 'a', candidateIds: [] });
    made.close();
    await expect.poll(() => streams[0]?.cancelled).toBe(true);
  });

  it('of a signal that is aborted already end, on a new stream too', async () => {
    expect(await failure(ask('a', { signal: AbortSignal.abort() }))).toMatchObject({ reason: 'cancelled' });
    expect(await ask('b')).toMatch(/^b@/);
  });

  it('after the end of the client are refused as such', async () => {
    calls.close();
    expect(await failure(ask('a'))).toMatchObject({ reason: 'cancelled', message: 'the client was closed' });
  });

  it('to nobody fail as any call does', async () => {
    server.forceShutdown();
    expect(await failure(ask('a'))).toMatchObject({ reason: 'dependency_unavailable' });
  });
});
