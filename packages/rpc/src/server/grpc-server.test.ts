import { once } from 'node:events';
import { connect } from 'node:net';
import { CkvError, invalidRequest } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createGrpcClient, type GrpcClient, type GrpcClientOptions } from '../client/grpc-client.js';
import type { CallContext } from './call-context.js';
import { createGrpcServer, type GrpcServer } from './grpc-server.js';

const TOKEN = 'a-token-of-24-characters';
const log = { debug: () => undefined, error: () => undefined };
/** Status names of the calls so far. */
let codes: string[];
const metrics = { rpcSeconds: { observe: ({ code }: { code: string }) => void codes.push(code) } };
let server: GrpcServer;
let address: string;
let perform: (call: CallContext) => Promise<{ deletedCount: number }>;
let clients: GrpcClient<'UserCacheService'>[];
const unused = () => Promise.reject(new CkvError('bug', 'unused'));

async function start(token = ''): Promise<void> {
  server = createGrpcServer({ bind: '127.0.0.1:0', token, log, metrics });
  server.add('UserCacheService', {
    GetRecords: unused,
    AppendPositions: unused,
    ReplaceRecord: unused,
    DeletePosition: unused,
    Stats: unused,
    DeleteRecord: (_, call) => perform(call),
  });
  ({ address } = await server.start());
}

function client(options: GrpcClientOptions = {}): GrpcClient<'UserCacheService'> {
  const made = createGrpcClient('UserCacheService', address, options);
  clients.push(made);
  return made;
}

beforeEach(() => {
  clients = [];
  codes = [];
  perform = async () => ({ deletedCount: 1 });
});
afterEach(async () => {
  for (const made of clients) made.close();
  await server.drain(0);
});

describe('gRPC server', () => {
  it('carries a failure with its reason, field and delay', async () => {
    await start();
    perform = async () => {
      throw invalidRequest('user_id', 'is wrong', 'right it');
    };
    const error = { reason: 'invalid_request', field: 'user_id', message: 'user_id: is wrong; right it' };
    await expect(client().call('DeleteRecord', { userId: 'u' })).rejects.toMatchObject(error);
    perform = async () => {
      throw new CkvError('overloaded', 'full', { retryAfterMs: 70 });
    };
    await expect(client().call('DeleteRecord', {})).rejects.toMatchObject({ reason: 'overloaded', retryAfterMs: 70 });
  });

  it('keeps the cause of a defect to itself', async () => {
    await start();
    perform = async () => {
      throw new Error('password hunter2');
    };
    const failure = await client()
      .call('DeleteRecord', {})
      .catch((error: CkvError) => error);
    expect(failure).toMatchObject({ reason: 'bug' });
    expect(String((failure as CkvError).message)).not.toContain('hunter2');
  });

  it('ends a call at its deadline and tells the handler', async () => {
    await start();
    const aborted = new Promise((resolve) => {
      perform = ({ signal }) => {
        signal.addEventListener('abort', () => resolve(signal.reason));
        return new Promise(() => undefined);
      };
    });
    await expect(client().call('DeleteRecord', {}, { deadlineMs: Date.now() + 1_000 })).rejects.toMatchObject({
      reason: 'deadline',
    });
    await expect(aborted).resolves.toMatchObject({ reason: expect.stringMatching(/deadline|cancelled/) });
    // The handler never returns, and yet the call is over and counted.
    await expect.poll(() => codes).toContainEqual(expect.stringMatching(/DEADLINE_EXCEEDED|CANCELLED/));
  });

  it('tells a handler of the end that it asks for afterwards', async () => {
    await start();
    const told = new Promise((resolve) => {
      perform = async (call) => {
        await expect.poll(() => call.ended?.reason).toBe('cancelled');
        resolve([call.signal.aborted, call.signal.reason]);
        return { deletedCount: 0 };
      };
    });
    const controller = new AbortController();
    const call = client().call('DeleteRecord', {}, { signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    await expect(call).rejects.toMatchObject({ reason: 'cancelled' });
    await expect(told).resolves.toEqual([true, expect.objectContaining({ reason: 'cancelled' })]);
  });

  it('lets nobody in without the token, and whoever has it', async () => {
    await start(TOKEN);
    await expect(client().call('DeleteRecord', {})).rejects.toMatchObject({ reason: 'unauthenticated' });
    await expect(client({ token: `${TOKEN}x` }).call('DeleteRecord', {})).rejects.toMatchObject({
      reason: 'unauthenticated',
    });
    await expect(client({ token: TOKEN }).call('DeleteRecord', {})).resolves.toEqual({ deletedCount: 1 });
  });

  it('finishes calls in flight while it drains, and refuses new ones', async () => {
    await start();
    let finish: () => void = () => undefined;
    perform = () =>
      new Promise((resolve) => {
        finish = () => resolve({ deletedCount: 7 });
      });
    const caller = client();
    const inFlight = caller.call('DeleteRecord', {});
    await expect.poll(() => finish.toString()).toContain('deletedCount');
    const drained = server.drain(5_000);
    await expect(caller.call('DeleteRecord', {}, { deadlineMs: Date.now() + 500 })).rejects.toMatchObject({
      reason: expect.stringMatching(/draining|dependency_unavailable|deadline/),
    });
    finish();
    await expect(inFlight).resolves.toEqual({ deletedCount: 7 });
    await drained;
  });

  it('ends calls that outlast the grace', async () => {
    await start();
    const called = new Promise<void>((resolve) => {
      perform = () => {
        resolve();
        return new Promise(() => undefined);
      };
    });
    const stuck = client()
      .call('DeleteRecord', {})
      .catch((error: CkvError) => error.reason);
    await called;
    await server.drain(100);
    expect(await stuck).toMatch(/dependency_unavailable|cancelled|draining/);
  });

  it('ends though a peer hangs', async () => {
    await start();
    const [host = '', port] = address.split(':');
    const hanging = connect({ host, port: Number(port), allowHalfOpen: true });
    hanging.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    hanging.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])); // empty SETTINGS, and nothing ever after
    await once(hanging, 'data');
    hanging.pause();
    await server.drain(100);
    hanging.destroy();
  });
});
