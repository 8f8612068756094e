// The streams on a scripted channel: the test decides when a message or a status comes.
import { type Client, Metadata, type MethodDefinition, type StatusObject, status } from '@grpc/grpc-js';
import { afterEach, expect, it, vi } from 'vitest';
import { createStreamCalls } from './stream-calls.js';

/** What the channel tells a stream. */
interface Listener {
  onReceiveMessage(message: Buffer): void;
  onReceiveStatus(ended: StatusObject): void;
}

/** A stream as the channel sees it. */
interface ScriptedStream {
  listener: Listener;
  readonly sent: string[];
  /** Codes of the cancellations. */
  readonly cancels: number[];
  halfClosed: boolean;
}

/** A client whose channel keeps the streams that are opened on it. */
function scriptedClient(streams: ScriptedStream[]): Client {
  const createCall = () => {
    const stream: ScriptedStream = { listener: undefined as never, sent: [], cancels: [], halfClosed: false };
    streams.push(stream);
    return {
      start: (_metadata: Metadata, listener: Listener) => {
        stream.listener = listener;
      },
      startRead: () => undefined,
      sendMessageWithContext: (_context: object, message: Buffer) => stream.sent.push(String(message)),
      halfClose: () => {
        stream.halfClosed = true;
      },
      cancelWithStatus: (code: number) => stream.cancels.push(code),
    };
  };
  return { getChannel: () => ({ createCall }) } as unknown as Client;
}

const text = {
  path: '/test.Texts/Texts',
  requestSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => String(bytes),
} as unknown as MethodDefinition<unknown, unknown>;
const ended = (code: status): StatusObject => ({ code, details: '', metadata: new Metadata() });

function openCalls(spread = 1) {
  const streams: ScriptedStream[] = [];
  const calls = createStreamCalls(scriptedClient(streams), text, new Metadata(), { spread, maxAgeMs: 60_000 });
  return { streams, calls };
}

afterEach(() => {
  vi.useRealTimers();
});

it('tells a call how its stream ended, though both its deadline and its signal cancelled it', async () => {
  vi.useFakeTimers();
  const { streams, calls } = openCalls();
  const controller = new AbortController();
  const call = calls.call('first', { deadlineMs: Date.now() + 1, signal: controller.signal });
  vi.advanceTimersByTime(1);
  controller.abort();
  streams[0]?.listener.onReceiveStatus(ended(status.DEADLINE_EXCEEDED));
  await expect(call).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
});

it('does not use a cancelled stream again, though its response still comes', async () => {
  const { streams, calls } = openCalls();
  const controller = new AbortController();
  const first = calls.call('first', { signal: controller.signal });
  controller.abort();
  streams[0]?.listener.onReceiveMessage(Buffer.from('just in time'));
  expect(await first).toBe('just in time');
  const second = calls.call('second', {});
  expect(streams.map(({ sent }) => sent)).toEqual([['first'], ['second']]);
  streams[0]?.listener.onReceiveStatus(ended(status.CANCELLED));
  streams[1]?.listener.onReceiveMessage(Buffer.from('answer'));
  expect(await second).toBe('answer');
  expect(streams[1]?.cancels).toEqual([]);
});

it('does not use an idle stream again after it got a response that nobody asked for', async () => {
  const { streams, calls } = openCalls();
  const first = calls.call('first', {});
  streams[0]?.listener.onReceiveMessage(Buffer.from('answer'));
  await first;
  streams[0]?.listener.onReceiveMessage(Buffer.from('another'));
  expect(streams[0]?.cancels).toEqual([status.INTERNAL]);
  void calls.call('second', {});
  expect(streams.map(({ sent }) => sent)).toEqual([['first'], ['second']]);
});

it('does not count streams that have ended', async () => {
  const { streams, calls } = openCalls(2);
  for (const i of [0, 1]) {
    const call = calls.call(`call ${i}`, {});
    streams[i]?.listener.onReceiveMessage(Buffer.from('answer'));
    await call;
  }
  for (const { listener } of streams) listener.onReceiveStatus(ended(status.OK));
  for (const i of [2, 3]) {
    const call = calls.call(`call ${i}`, {});
    streams[i]?.listener.onReceiveMessage(Buffer.from('answer'));
    await call;
  }
  void calls.call('call 4', {});
  expect(streams.map(({ sent }) => sent)).toEqual([['call 0'], ['call 1'], ['call 2', 'call 4'], ['call 3']]);
});

it('cancels a stream a second time in a later turn, since grpc-js may open it after the first', async () => {
  const { streams, calls } = openCalls();
  const call = calls.call('first', { signal: AbortSignal.abort() });
  streams[0]?.listener.onReceiveStatus(ended(status.CANCELLED));
  await expect(call).rejects.toMatchObject({ code: status.CANCELLED });
  await new Promise((resolve) => setImmediate(resolve));
  expect(streams[0]?.cancels).toEqual([status.CANCELLED, status.CANCELLED]);
});
