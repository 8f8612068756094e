import { once } from 'node:events';
import { connect } from 'node:net';
import { CkvError, invalidRequest, steadyNowMs } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGrpcClient, type GrpcClient } from '../client/grpc-client.js';
import type { GrpcClientOptions } from '../client/grpc-client-options.js';
import type { CallContext } from './call-context.js';
import { createGrpcServer, type GrpcServer } from './grpc-server.js';

const TOKEN = 'a-token-of-24-characters';
/** Lines of level error. */
let errors: object[];
const log = { debug: () => undefined, warn: () => undefined, error: (fields: object) => void errors.push(fields) };
/** Status names of the calls so far. */
let codes: string[];
const metrics = { rpcSeconds: { observe: ({ code }: { code: string }) => void codes.push(code) } };
let server: GrpcServer;
let address: string;
/** Calls that the handler has begun. */
let begunCount: number;
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
    DropRecords: unused,
    Stats: unused,
    DeleteRecord(_, call) {
      begunCount++;
      return perform(call);
    },
  });
  ({ address } = await server.start());
}

function client(options: GrpcClientOptions = {}): GrpcClient<'UserCacheService'> {
  const made = createGrpcClient('UserCacheService', address, options);
  clients.push(made);
  return made;
}

/** A fake clock. A poll moves it, too, by up to a second. */
const stopClock = () => vi.useFakeTimers({ toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] });

beforeEach(() => {
  clients = [];
  codes = [];
  errors = [];
  begunCount = 0;
  perform = async () => ({ deletedCount: 1 });
});
afterEach(async () => {
  vi.useRealTimers();
  for (const made of clients) made.close();
  await server.drain(0);
});

describe('a gRPC server', () => {
  it('sends the reason, field and delay of a failure', async () => {
    await start();
    perform = async () => {
      throw invalidRequest('user_id', 'is wrong', 'correct it');
    };
    const error = { reason: 'invalid_request', field: 'user_id', message: 'user_id: is wrong; correct it' };
    await expect(client().call('DeleteRecord', { userId: 'u' })).rejects.toMatchObject(error);
    perform = async () => {
      throw new CkvError('overloaded', 'full', { retryAfterMs: 70 });
    };
    await expect(client().call('DeleteRecord', {})).rejects.toMatchObject({ reason: 'overloaded', retryAfterMs: 70 });
    expect(codes).toEqual(['INVALID_ARGUMENT', 'RESOURCE_EXHAUSTED']);
    expect(errors).toEqual([]);
  });

  it('logs the cause of a defect once, and does not send it', async () => {
    await start();
    const cause = new Error('password hunter2');
    perform = async () => {
      throw cause;
    };
    const failure = await client()
      .call('DeleteRecord', {})
      .catch((error: CkvError) => error);
    expect(failure).toMatchObject({ reason: 'bug' });
    expect(String((failure as CkvError).message)).not.toContain('hunter2');
    expect(errors).toEqual([expect.objectContaining({ rpc: 'UserCacheService/DeleteRecord', err: cause })]);
  });

  it('ends a call at its deadline and tells the handler, though the handler never returns', async () => {
    stopClock();
    await start();
    const aborted = new Promise((resolve) => {
      perform = ({ signal }) => {
        signal.addEventListener('abort', () => resolve(signal.reason));
        return new Promise(() => undefined);
      };
    });
    const call = client().call('DeleteRecord', {}, { deadlineMs: Date.now() + 10_000 });
    const failed = expect(call).rejects.toMatchObject({ reason: 'deadline' });
    await expect.poll(() => begunCount).toBe(1);
    vi.advanceTimersByTime(10_000);
    await failed;
    await expect(aborted).resolves.toMatchObject({ reason: expect.stringMatching(/deadline|cancelled/) });
    await expect.poll(() => codes).toEqual([expect.stringMatching(/DEADLINE_EXCEEDED|CANCELLED/)]);
  });

  it.each([10_000, 86_400_000, -10_000, -86_400_000])(
    'keeps the deadline of a call although the clock of the machine jumps by %i ms',
    async (jumpMs) => {
      await start();
      let leftMs = 0;
      perform = async ({ deadlineMs, signal }) => {
        vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + jumpMs });
        leftMs = deadlineMs - steadyNowMs();
        await new Promise(setImmediate);
        expect(signal.aborted).toBe(false);
        return { deletedCount: 7 };
      };
      const caller = client();
      const call = caller.call('DeleteRecord', {}, { deadlineMs: steadyNowMs() + 5_000 });
      await expect(call).resolves.toMatchObject({ deletedCount: 7 });
      expect(leftMs).toBeGreaterThan(0);
      expect(leftMs).toBeLessThan(5_100);
      const next = caller.call('DeleteRecord', {}, { deadlineMs: steadyNowMs() + 5_000 });
      await expect(next).resolves.toMatchObject({ deletedCount: 7 });
    },
  );

  it('gives a call without a deadline 30 s', async () => {
    stopClock();
    await start();
    let leftMs = 0;
    perform = async ({ deadlineMs }) => {
      leftMs = deadlineMs - steadyNowMs();
      return { deletedCount: 0 };
    };
    await client().call('DeleteRecord', {});
    expect(leftMs).toBe(30_000);
  });

  it('gives a handler an aborted signal if it asks for the signal after the caller gave up', async () => {
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
    const failed = expect(call).rejects.toMatchObject({ reason: 'cancelled' });
    await expect.poll(() => begunCount).toBe(1);
    controller.abort();
    await failed;
    await expect(told).resolves.toEqual([true, expect.objectContaining({ reason: 'cancelled' })]);
  });

  it('refuses callers without the token, and admits those with it', async () => {
    await start(TOKEN);
    for (const token of ['', `${TOKEN}x`]) {
      await expect(client({ token }).call('DeleteRecord', {})).rejects.toMatchObject({ reason: 'unauthenticated' });
    }
    await expect(client({ token: TOKEN }).call('DeleteRecord', {})).resolves.toMatchObject({ deletedCount: 1 });
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
    await expect.poll(() => begunCount).toBe(1);
    const drained = server.drain(20_000);
    await expect(caller.call('DeleteRecord', {}, { deadlineMs: Date.now() + 500 })).rejects.toMatchObject({
      reason: expect.stringMatching(/draining|dependency_unavailable|deadline/),
    });
    finish();
    await expect(inFlight).resolves.toMatchObject({ deletedCount: 7 });
    await drained;
    expect(begunCount).toBe(1);
  });

  it('ends calls that outlast the grace', async () => {
    await start();
    perform = () => new Promise(() => undefined);
    const stuck = client()
      .call('DeleteRecord', {})
      .catch((error: CkvError) => error.reason);
    await expect.poll(() => begunCount).toBe(1);
    await server.drain(10);
    expect(await stuck).toMatch(/dependency_unavailable|cancelled|draining/);
  });

  it('stops, though a peer never closes its connection', async () => {
    await start();
    const [host = '', port] = address.split(':');
    const hanging = connect({ host, port: Number(port), allowHalfOpen: true });
    hanging.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    hanging.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])); // empty SETTINGS, and nothing ever after
    await once(hanging, 'data');
    hanging.pause();
    stopClock();
    let stopped = false;
    void server.drain(100).then(() => {
      stopped = true;
    });
    await vi.advanceTimersByTimeAsync(100); // the grace
    await vi.advanceTimersByTimeAsync(1_000); // the time for connections that were cut
    expect(stopped).toBe(true);
    hanging.destroy();
  });
});
