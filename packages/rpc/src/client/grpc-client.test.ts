import { CkvError } from '@collectivekv/domain';
import { afterEach, describe, expect, it } from 'vitest';
import { createGrpcServer } from '../server/grpc-server.js';
import { createGrpcClient, type GrpcClient } from './grpc-client.js';

const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { rpcSeconds: { observe: () => undefined } };
const unused = () => Promise.reject(new CkvError('bug', 'unused'));
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Starts a pool service whose bundle has this id, and whose announcements end after `announced`. */
async function startPool(bundleId: string, announced: string[] = []) {
  const server = createGrpcServer({ bind: '127.0.0.1:0', log, metrics });
  server.add('PoolService', {
    Describe: async () => ({ bundleId, manifest: Buffer.alloc(0) }),
    async *WatchBundles(_, { signal }) {
      for (const activeBundleId of announced) yield { activeBundleId };
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
    async *FetchBundle() {
      yield { path: 'bundle.json' };
      throw new CkvError('bundle_not_loaded', 'gone', { field: 'bundle_id' });
    },
    Gather: unused,
    ReportBundles: unused,
    ListBundles: unused,
    ListFollowers: unused,
    SetCandidate: unused,
    CancelCandidate: unused,
    Activate: unused,
    ReportSlotUsage: unused,
    GetPoolHealth: unused,
    NameItems: unused,
    Rollback: unused,
    NoteRecordsChange: unused,
  });
  const { address } = await server.start();
  closing.push(() => server.drain(0));
  return address;
}

function connect(target: string): GrpcClient<'PoolService'> {
  const client = createGrpcClient('PoolService', target);
  closing.push(client.close);
  return client;
}

describe('a gRPC client', () => {
  it('takes turns on all addresses of a target', async () => {
    const client = connect(`${await startPool('a')},${await startPool('b')}`);
    const answers = new Set<string>();
    const ask = async () => answers.add((await client.call('Describe', {})).bundleId);
    await expect.poll(() => ask().then(() => [...answers].sort())).toEqual(['a', 'b']); // once both are connected
    const turns = [];
    for (let i = 0; i < 4; i++) turns.push((await client.call('Describe', {})).bundleId);
    expect(turns.filter((id) => id === 'a')).toHaveLength(2);
  });

  it('names the address if no server answers', async () => {
    const client = connect('127.0.0.1:1');
    await expect(client.call('Describe', {})).rejects.toMatchObject({
      reason: 'dependency_unavailable',
      message: 'PoolService at 127.0.0.1:1 cannot be reached',
    });
  });

  it('says so if another service answers', async () => {
    const client = createGrpcClient('UserCacheService', await startPool('a'), {
      optionNames: { target: '--user-cache' },
    });
    closing.push(client.close);
    await expect(client.call('Stats', {})).rejects.toMatchObject({
      reason: 'dependency_unavailable',
      field: '--user-cache',
      message: expect.stringMatching(/^UserCacheService at \S+ is not there: the address answers as another service/),
    });
  });

  it('refuses a target without a port, and names the option', () => {
    const options = { optionNames: { target: '--pool' } };
    expect(() => createGrpcClient('PoolService', 'pool', options)).toThrow(
      /^--pool: "pool" has no port; write HOST:PORT/,
    );
  });

  it.each(['se\ncret', 'se cret', 'sécret'])('refuses the token "%s" without printing it', (token) => {
    let thrown: unknown;
    try {
      createGrpcClient('PoolService', '127.0.0.1:1', { token });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ reason: 'invalid_request', field: 'token' });
    expect(String(thrown)).not.toContain('cret');
  });

  it('fails if its request cannot be written', async () => {
    const client = createGrpcClient('UserCacheService', await startPool('a'));
    closing.push(client.close);
    await expect(client.call('GetRecords', { userIds: 7 as never })).rejects.toMatchObject({
      cause: { details: expect.stringContaining('the request cannot be written') },
    });
  });

  it('fails with the reason of its signal, also if that aborted before the call', async () => {
    const client = connect(await startPool('a'));
    const reason = new CkvError('deadline', 'too late');
    const limits = { signal: AbortSignal.abort(reason) };
    await expect(client.call('Describe', {}, limits)).rejects.toBe(reason);
    await expect(client.stream('WatchBundles', {}, limits)[Symbol.asyncIterator]().next()).rejects.toBe(reason);
  });

  it('fails at a deadline, with a text of our own', async () => {
    const client = connect(await startPool('a'));
    const late = client.call('Describe', {}, { deadlineMs: Date.now() - 1 });
    await expect(late).rejects.toMatchObject({ reason: 'deadline', message: 'the deadline passed' });
  });

  it('refuses calls after it was closed', async () => {
    const client = connect(await startPool('a'));
    client.close();
    const closed = { reason: 'cancelled', message: 'the client was closed' };
    await expect(client.call('Describe', {})).rejects.toMatchObject(closed);
    await expect(client.stream('WatchBundles', {})[Symbol.asyncIterator]().next()).rejects.toMatchObject(closed);
  });

  it('passes a stream of answers on, and then its failure', async () => {
    const client = connect(await startPool('a'));
    const paths: string[] = [];
    const reading = (async () => {
      for await (const { path } of client.stream('FetchBundle', {})) paths.push(path);
    })();
    await expect(reading).rejects.toMatchObject({ reason: 'bundle_not_loaded', field: 'bundle_id' });
    expect(paths).toEqual(['bundle.json']);
  });

  it('ends a stream of answers when its signal aborts', async () => {
    const client = connect(await startPool('a', ['first', 'second']));
    const controller = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { activeBundleId } of client.stream('WatchBundles', {}, { signal: controller.signal })) {
        if (seen.push(activeBundleId) === 2) controller.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ reason: 'cancelled' });
    expect(seen).toEqual(['first', 'second']);
  });
});
