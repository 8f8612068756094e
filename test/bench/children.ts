// Child processes for comparison: a bare graph, and a gRPC server that does nothing.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { services } from '@collectivekv/rpc';
import { Client, credentials } from '@grpc/grpc-js';
import type { BareAnswer, BareRequest } from './bare-graph.js';
import { ECHO_METHOD, ECHO_STREAM_METHOD } from './echo-method.js';

/** A bare graph in a child process. It takes one request at a time. */
export interface BareGraph {
  run(request: BareRequest): Promise<BareAnswer>;
  close(): void;
}

/** Starts a bare graph. */
export async function startBareGraph(bundleDir: string): Promise<BareGraph> {
  const child = startChild('bare-graph', bundleDir);
  await child.said();
  return {
    async run(request) {
      child.process.send(request);
      return (await child.said()) as BareAnswer;
    },
    close: () => child.process.disconnect(),
  };
}

/** A gRPC server that does nothing, and its client. */
export interface Echo {
  /** Makes a unary call. */
  unary(): Promise<unknown>;
  /** Sends a message on an open stream, and waits for the answer. */
  stream(): Promise<unknown>;
  close(): void;
}

/** Starts an echo. Its messages have the sizes of a Rank call with these candidates. */
export async function startEcho(candidateIds: readonly string[]): Promise<Echo> {
  const { requestSerialize, responseSerialize } = services.RankingService.service.Rank;
  const request = requestSerialize({ userId: 'u'.repeat(10), candidateIds: [...candidateIds] });
  const numbers = Buffer.alloc(candidateIds.length * 4, 1);
  const answer = responseSerialize({
    scores: numbers,
    order: numbers,
    info: { bundleId: 'f'.repeat(16), positionCount: 1_000, lastEventMs: Date.now(), timings: { totalUs: 5_000 } },
  });
  const child = startChild('echo-server', String(answer.length));
  const client = new Client(`127.0.0.1:${await child.said()}`, credentials.createInsecure());
  const { path, requestSerialize: write, responseDeserialize: read } = ECHO_METHOD;
  const stream = client.makeBidiStreamRequest(ECHO_STREAM_METHOD.path, write, read);
  stream.on('error', () => undefined); // `close` cancels the stream
  return {
    async stream() {
      stream.write(request);
      await once(stream, 'data');
    },
    unary: () =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, write, read, request, (error, bytes) => (error ? reject(error) : resolve(bytes)));
      }),
    close() {
      stream.cancel();
      client.close();
      child.process.disconnect();
    },
  };
}

interface Child {
  readonly process: ChildProcess;
  /** Returns the child's next message. Rejects when the child ends. */
  said(): Promise<unknown>;
}

function startChild(name: string, argument: string): Child {
  const path = fileURLToPath(new URL(`./${name}.js`, import.meta.url));
  const child = fork(path, [argument], { serialization: 'advanced' });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${name} ended with exit code ${code}; its error output is above`);
  });
  ended.catch(() => undefined); // not unhandled if nobody waits for a message
  return {
    process: child,
    async said() {
      const [message] = await Promise.race([once(child, 'message'), ended]);
      return message;
    },
  };
}
