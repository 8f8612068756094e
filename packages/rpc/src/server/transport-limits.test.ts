// Bounds below the messages: sizes, compression, headers, calls of a connection, and callers that do not read.
import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { CkvError } from '@collectivekv/domain';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createGrpcClient } from '../client/grpc-client.js';
import { createGrpcServer, type GrpcServer } from './grpc-server.js';

const ANSWER_BYTES = 1_000_000;
const MAX_UNREAD_MB = 16;
let server: GrpcServer;
let address: string;
/** Calls that the handler has begun. */
let begunCount: number;
const sessions: ClientHttp2Session[] = [];
const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { rpcSeconds: { observe: () => undefined } };
const unused = () => Promise.reject(new CkvError('bug', 'unused'));

beforeEach(async () => {
  begunCount = 0;
  server = createGrpcServer({ bind: '127.0.0.1:0', log, metrics, maxUnreadMb: MAX_UNREAD_MB });
  server.add('UserCacheService', {
    async GetRecords() {
      begunCount++;
      return { records: [Buffer.alloc(ANSWER_BYTES)] };
    },
    AppendPositions: unused,
    ReplaceRecord: unused,
    DeletePosition: unused,
    DeleteRecord: unused,
    DropRecords: unused,
    Stats: unused,
  });
  ({ address } = await server.start());
});
afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await server.drain(0);
});

function openSession(): ClientHttp2Session {
  const session = connect(`http://${address}`);
  session.on('error', () => undefined); // the server may end it
  sessions.push(session);
  return session;
}

function request(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}) {
  const path = '/collectivekv.v1.UserCacheService/GetRecords';
  const sent = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers };
  return session.request(sent).on('error', () => undefined); // a reset
}

/** Sends a gRPC frame on a new connection. Returns the gRPC status, or 'reset' if there is none. */
async function statusOf(headers: OutgoingHttpHeaders, content: Buffer, flag = 0): Promise<string> {
  const stream = request(openSession(), headers);
  let status = 'reset';
  const read = (found: Readonly<Record<string, unknown>>) => {
    if (found['grpc-status'] !== undefined) status = String(found['grpc-status']);
  };
  stream.on('response', read).on('trailers', read).resume();
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(content.length, 1);
  const closed = new Promise((resolve) => stream.once('close', resolve));
  stream.end(Buffer.concat([head, content]));
  await closed;
  return status;
}

const fields = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, 'v']));
const MIB = 1024 * 1024;

it.each<[string, () => Promise<string>]>([
  ['a message of more than 16 MiB', () => statusOf({}, Buffer.alloc(16 * MIB + 1))],
  ['200 KB that unpack to 200 MB', () => statusOf({ 'grpc-encoding': 'gzip' }, gzipSync(Buffer.alloc(200 * MIB)), 1)],
  ['200 header fields', () => statusOf(fields(200), Buffer.alloc(0))],
  ['100 KB of headers', () => statusOf({ 'x-a': 'a'.repeat(100_000) }, Buffer.alloc(0))],
])('refuses %s, and answers other callers', async (_, send) => {
  expect(await send()).toMatch(/^(8|reset)$/); // RESOURCE_EXHAUSTED, or HTTP/2's own refusal
  expect(begunCount).toBe(0);
  const client = createGrpcClient('UserCacheService', address);
  expect((await client.call('GetRecords', {})).records[0]).toHaveLength(ANSWER_BYTES);
  client.close();
});

it('closes the connection of a caller that reads no answers, before they take much memory', async () => {
  const session = openSession();
  session.settings({ initialWindowSize: 0 }); // takes not a byte of any answer
  const closed = new Promise((resolve) => session.once('close', resolve));
  const frame = Buffer.alloc(5); // an empty message
  const send = () => {
    if (session.closed || session.destroyed) return;
    request(session).end(frame);
    setImmediate(send);
  };
  send();
  await closed;
  expect(begunCount).toBeGreaterThan(2);
  expect(begunCount * ANSWER_BYTES).toBeLessThan(20 * MAX_UNREAD_MB * MIB);
  const client = createGrpcClient('UserCacheService', address);
  expect((await client.call('GetRecords', {})).records[0]).toHaveLength(ANSWER_BYTES);
  client.close();
});
