// Replicas behind one name, as those of a headless service: 127.0.0.1, 127.0.0.2 and so on, all on one port.
import { promises as dns } from 'node:dns';
import { platform } from 'node:os';
import { CkvError } from '@collectivekv/domain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGrpcServer, type GrpcServer } from '../server/grpc-server.js';
import { followedTarget } from './followed-names.js';
import { createGrpcClient, type GrpcClient } from './grpc-client.js';

const NAME = 'user-cache.example';
const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { rpcSeconds: { observe: () => undefined } };
const unused = () => Promise.reject(new CkvError('bug', 'unused'));
const closing: (() => unknown)[] = [];
/** What the name leads to. Empty: the look-up fails. */
let addresses: string[];
let lookups: number;

beforeEach(() => {
  [addresses, lookups] = [[], 0];
  const lookup = async (host: string) => {
    lookups++;
    if (host !== NAME || addresses.length === 0) throw Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
    return addresses.map((address) => ({ address, family: 4 }));
  };
  vi.spyOn(dns, 'lookup').mockImplementation(lookup as unknown as typeof dns.lookup);
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  vi.restoreAllMocks();
});

/** Starts a replica. Its answers name its address. */
async function startReplica(host: string, port: number): Promise<{ port: number; server: GrpcServer }> {
  const server = createGrpcServer({ bind: `${host}:${port}`, log, metrics });
  server.add('UserCacheService', {
    Stats: async () => ({ recordCount: Number(host.split('.').at(-1)) }),
    GetRecords: unused,
    AppendPositions: unused,
    DeletePosition: unused,
    ReplaceRecord: unused,
    DeleteRecord: unused,
    DropRecords: unused,
  } as never);
  const { address } = await server.start();
  closing.push(() => server.drain(0));
  return { port: Number(address.split(':')[1]), server };
}

function connect(port: number): GrpcClient<'UserCacheService'> {
  const client = createGrpcClient('UserCacheService', `dns:///${NAME}:${port}`);
  closing.push(client.close);
  return client;
}

/** Calls four times. Returns the last numbers of the addresses that answered. */
async function answering(client: GrpcClient<'UserCacheService'>): Promise<number[]> {
  const seen = new Set<number>();
  for (let i = 0; i < 4; i++) seen.add(Number((await client.call('Stats', {})).recordCount));
  return [...seen].sort();
}

describe.runIf(platform() === 'linux')('a target that is a name', () => {
  it('gives a new replica its share while the others go on, and takes it away from one that left', async () => {
    const { port } = await startReplica('127.0.0.1', 0);
    addresses = ['127.0.0.1'];
    const client = connect(port);
    expect(await answering(client)).toEqual([1]);
    await startReplica('127.0.0.2', port);
    addresses = ['127.0.0.1', '127.0.0.2'];
    await expect.poll(() => answering(client), { timeout: 30_000 }).toEqual([1, 2]);
    addresses = ['127.0.0.2'];
    await expect.poll(() => answering(client), { timeout: 30_000 }).toEqual([2]);
  });

  it('keeps its addresses while the name cannot be looked up', async () => {
    const { port } = await startReplica('127.0.0.1', 0);
    addresses = ['127.0.0.1'];
    const client = connect(port);
    expect(await answering(client)).toEqual([1]);
    addresses = [];
    const before = lookups;
    await expect.poll(() => lookups, { timeout: 30_000 }).toBeGreaterThan(before + 1);
    expect(await answering(client)).toEqual([1]);
  });

  it('connects when the name appears', async () => {
    const { port } = await startReplica('127.0.0.1', 0);
    const client = connect(port);
    await expect(client.call('Stats', {})).rejects.toMatchObject({ reason: 'dependency_unavailable' });
    addresses = ['127.0.0.1'];
    await expect.poll(() => answering(client).catch(() => []), { timeout: 30_000 }).toEqual([1]);
  });
});

it.each([
  ['dns:///pool:50051', 'ckv-dns:///pool:50051'],
  ['dns://10.0.0.1/pool:50051', 'ckv-dns://10.0.0.1/pool:50051'],
  ['dns:pool:50051', 'ckv-dns:pool:50051'],
  ['pool:50051', 'ckv-dns:///pool:50051'],
  ['127.0.0.1:50051', '127.0.0.1:50051'],
  ['[::1]:50051', '[::1]:50051'],
  ['dns:///127.0.0.1:50051', 'dns:///127.0.0.1:50051'],
  ['ipv4:10.0.0.1:1,10.0.0.2:1', 'ipv4:10.0.0.1:1,10.0.0.2:1'],
  ['unix:/run/pool.sock', 'unix:/run/pool.sock'],
])('follows the names among targets: %s', (target, followed) => {
  expect(followedTarget(target)).toBe(followed);
});
