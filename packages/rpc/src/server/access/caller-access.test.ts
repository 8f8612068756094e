import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileOutcome } from '@collectivekv/credentials';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGrpcClient, type GrpcClient } from '../../client/grpc-client.js';
import type { GrpcClientOptions } from '../../client/grpc-client-options.js';
import { createGrpcServer, type GrpcServer, type GrpcServerOptions } from '../grpc-server.js';
import { EXPLAINED_RANK, REQUIRED_ROLES, ROLES, type Role, rolesOf } from './roles.js';

vi.setConfig({ testTimeout: 180_000 }); // a busy machine

const tokenOf = (role: string) => `token-of-the-role-${role}`;
const ALL_LINES = Object.keys(ROLES).map((role) => `${role} ${tokenOf(role)} label-of-${role}\n`);

let dir: string;
let tokensFile: string;
let server: GrpcServer;
let address: string;
let clients: { close(): void }[];
let lines: object[];
let outcomes: FileOutcome[];

async function start(options: Partial<GrpcServerOptions>): Promise<void> {
  const log = { debug: () => undefined, warn: (fields: object) => void lines.push(fields), error: () => undefined };
  const metrics = { rpcSeconds: { observe: () => undefined } };
  server = createGrpcServer({
    bind: '127.0.0.1:0',
    log,
    metrics,
    onFileOutcome: (outcome) => outcomes.push(outcome),
    ...options,
  });
  server.add('PoolService', {
    Describe: async () => ({}),
    Gather: async () => ({}),
    async *FetchBundle() {},
    async *WatchBundles() {},
    ReportBundles: async () => ({}),
    ListBundles: async () => ({}),
    ListFollowers: async () => ({}),
    SetCandidate: async () => ({}),
    CancelCandidate: async () => ({}),
    Activate: async () => ({}),
    ReportSlotUsage: async () => ({}),
    GetPoolHealth: async () => ({}),
    NameItems: async () => ({}),
    Rollback: async () => ({}),
    NoteRecordsChange: async () => ({}),
  });
  server.add('RankingService', {
    Rank: async ({ explain }, { refusal }) => {
      const refused = explain ? refusal(EXPLAINED_RANK) : undefined;
      if (refused) throw refused;
      return {};
    },
    RankMany: async () => ({}),
    RankStream: async () => ({}),
  });
  ({ address } = await server.start());
}

function client<S extends 'PoolService' | 'RankingService'>(name: S, options: GrpcClientOptions): GrpcClient<S> {
  const made = createGrpcClient(name, address, options);
  clients.push(made);
  return made;
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ckv-access-'));
  tokensFile = join(dir, 'tokens');
  writeFileSync(tokensFile, ALL_LINES.join(''));
  clients = [];
  lines = [];
  outcomes = [];
});
afterEach(async () => {
  for (const { close } of clients) close();
  await server.drain(0);
  rmSync(dir, { recursive: true, force: true });
});

describe('a server with tokens of roles', () => {
  const unary = Object.keys(REQUIRED_ROLES.PoolService).filter((method) => !/FetchBundle|WatchBundles/.test(method));
  it.each(unary.flatMap((method) => Object.keys(ROLES).map((role) => [method, role] as const)))(
    'PoolService/%s with a token of the role %s follows the table',
    async (method, role) => {
      await start({ tokensFile });
      const call = client('PoolService', { token: tokenOf(role) }).call(method as 'Describe', {});
      const needed = rolesOf(`PoolService/${method}`);
      if (needed.includes(role as Role)) await expect(call).resolves.toBeDefined();
      else {
        await expect(call).rejects.toMatchObject({
          reason: 'permission_denied',
          message: `authorization: PoolService/${method} needs a token with the role ${needed.join(' or ')}; this token has ${role}`,
        });
      }
    },
  );

  it('tells a handler whether the caller has further roles', async () => {
    writeFileSync(tokensFile, `${ALL_LINES.join('')}rank,admin token-of-two-roles two\n`);
    await start({ tokensFile });
    const rank = (token: string, explain: boolean) => client('RankingService', { token }).call('Rank', { explain });
    await expect(rank(tokenOf('rank'), false)).resolves.toBeDefined();
    await expect(rank(tokenOf('rank'), true)).rejects.toMatchObject({
      reason: 'permission_denied',
      message:
        'authorization: RankingService/Rank with explain needs a token with the role read or admin; this token has rank',
    });
    await expect(rank('token-of-two-roles', true)).resolves.toBeDefined();
    expect(lines).toContainEqual({ rpc: EXPLAINED_RANK, missing: 'read or admin', caller: 'label-of-rank' });
  });

  it('checks streams of answers, streams of requests and reflection', async () => {
    await start({ tokensFile });
    const watch = async (role: string) => {
      for await (const _ of client('PoolService', { token: tokenOf(role) }).stream('WatchBundles', {}));
    };
    await watch('admin');
    await expect(watch('append')).rejects.toMatchObject({ reason: 'permission_denied' });
    await expect(
      client('RankingService', { token: tokenOf('write') }).callOnStream('RankStream', {}),
    ).rejects.toMatchObject({ reason: 'permission_denied' });
    await expect(reflect(tokenOf('write'))).resolves.toContain('collectivekv.v1.PoolService');
    await expect(reflect('')).rejects.toThrow(/UNAUTHENTICATED/);
  });

  it('answers health checks without a token, for load balancers', async () => {
    await start({ tokensFile });
    const raw = new Client(address, credentials.createInsecure());
    clients.push({ close: () => raw.close() });
    const asIs = (bytes: Buffer) => bytes;
    const answer = new Promise((resolve, reject) => {
      raw.makeUnaryRequest('/grpc.health.v1.Health/Check', asIs, asIs, Buffer.alloc(0), (error, bytes) =>
        error ? reject(error) : resolve(bytes),
      );
    });
    expect(await answer).toEqual(Buffer.from([0x08, 2])); // status: NOT_SERVING
  });

  it('names the label of a refused token in its log, and no token', async () => {
    await start({ tokensFile });
    await client('PoolService', { token: tokenOf('rank') })
      .call('Activate', {})
      .catch(() => undefined);
    expect(lines).toContainEqual({ rpc: 'PoolService/Activate', missing: 'admin', caller: 'label-of-rank' });
    expect(JSON.stringify(lines)).not.toContain(tokenOf('rank'));
  });

  it.each(['token', 'tokenFile'])('does not accept its own %s, which it sends to others', async (option) => {
    const own = join(dir, 'own');
    writeFileSync(own, 'own-token-0123456789');
    await start({ tokensFile, [option]: option === 'token' ? 'own-token-0123456789' : own });
    await expect(client('PoolService', { token: 'own-token-0123456789' }).call('Describe', {})).rejects.toMatchObject({
      reason: 'unauthenticated',
    });
  });

  it('accepts the scheme in any case', async () => {
    await start({ tokensFile });
    await expect(reflect(tokenOf('write'), 'bearer')).resolves.toContain('PoolService');
  });
});

describe('tokens that change', () => {
  it('the next requests need the new tokens, also on a stream that is open', async () => {
    await start({ tokensFile });
    const asIs = (bytes: Buffer) => bytes;
    const raw = new Client(address, credentials.createInsecure());
    clients.push({ close: () => raw.close() });
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${tokenOf('rank')}`);
    const stream = raw.makeBidiStreamRequest('/collectivekv.v1.RankingService/RankStream', asIs, asIs, metadata);
    stream.write(Buffer.alloc(0));
    await once(stream, 'data');
    writeFileSync(tokensFile, `rank ${'another-token-0123456789'}\n`);
    await expect.poll(() => outcomes, { timeout: 30_000 }).toMatchObject([{ field: 'tokensFile', problem: undefined }]);
    const ended = once(stream, 'error');
    stream.write(Buffer.alloc(0));
    expect(String(await ended)).toContain('UNAUTHENTICATED');
  });

  it('keeps the tokens while the new file is broken, and says so without a token', async () => {
    await start({ tokensFile });
    writeFileSync(tokensFile, `${tokenOf('rank')} rank\n`);
    await expect.poll(() => outcomes, { timeout: 30_000 }).toHaveLength(1);
    const { message } = outcomes[0]?.problem ?? {};
    expect(message).toMatch(/^tokensFile: line 1 begins with a word that is not a list of roles/);
    expect(message).not.toContain(tokenOf('rank'));
    await expect(client('RankingService', { token: tokenOf('rank') }).call('Rank', {})).resolves.toBeDefined();
  });

  it('a client sends the new token of its file, and no call of a rotation fails', async () => {
    const own = join(dir, 'own');
    const [old, next] = ['old-token-0123456789', 'new-token-0123456789'];
    writeFileSync(own, `${old}\n`);
    writeFileSync(tokensFile, `rank ${old}\n`);
    await start({ tokensFile });
    const sent: FileOutcome[] = [];
    const ranking = client('RankingService', { tokenFile: own, onFileOutcome: (outcome) => sent.push(outcome) });
    let rotated = false;
    const load = (async () => {
      while (!rotated) await Promise.all([ranking.call('Rank', {}), ranking.callOnStream('RankStream', {})]);
    })();
    writeFileSync(tokensFile, `rank ${old}\nrank ${next}\n`);
    await expect.poll(() => outcomes, { timeout: 30_000 }).toHaveLength(1);
    writeFileSync(own, `${next}\n`);
    await expect.poll(() => sent, { timeout: 30_000 }).toHaveLength(1);
    // A call that began before this moment may still carry the former token.
    await ranking.call('Rank', {});
    await new Promise((resolve) => setImmediate(resolve));
    writeFileSync(tokensFile, `rank ${next}\n`);
    await expect.poll(() => outcomes, { timeout: 30_000 }).toHaveLength(2);
    await ranking.callOnStream('RankStream', {});
    rotated = true;
    await load;
    await expect(client('RankingService', { token: old }).call('Rank', {})).rejects.toMatchObject({
      reason: 'unauthenticated',
    });
  });

  it('a token file of all roles is followed as well', async () => {
    const own = join(dir, 'own');
    writeFileSync(own, 'old-token-0123456789\n');
    await start({ tokenFile: own });
    await expect(client('PoolService', { tokenFile: own }).call('Activate', {})).resolves.toBeDefined();
    writeFileSync(own, 'new-token-0123456789\n');
    await expect.poll(() => outcomes, { timeout: 30_000 }).toHaveLength(1);
    await expect(client('PoolService', { token: 'new-token-0123456789' }).call('Activate', {})).resolves.toBeDefined();
  });
});

it.each([
  ['an empty token file', '', /^tokenFile: .* is empty; write the token into it$/],
  ['a token file with a space', 'to ken', /^tokenFile: the text in .+ is not printable ASCII without spaces/],
])('a client refuses %s', async (_, content, message) => {
  await start({});
  const tokenFile = join(dir, 'own');
  writeFileSync(tokenFile, content);
  expect(() => client('PoolService', { tokenFile })).toThrow(message);
  expect(() => client('PoolService', { token: 'a', tokenFile })).toThrow(/tokenFile: is set together with token/);
});

/** Lists the services by reflection. */
async function reflect(token: string, scheme = 'Bearer'): Promise<string> {
  const asIs = (bytes: Buffer) => bytes;
  const raw = new Client(address, credentials.createInsecure());
  clients.push({ close: () => raw.close() });
  const metadata = new Metadata();
  if (token !== '') metadata.set('authorization', `${scheme} ${token}`);
  const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
  const stream = raw.makeBidiStreamRequest(path, asIs, asIs, metadata);
  stream.end(Buffer.from([0x3a, 0])); // list_services
  return Buffer.concat(await stream.toArray()).toString();
}
