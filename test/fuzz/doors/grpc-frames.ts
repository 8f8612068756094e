import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from 'node:http2';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type { Door } from '../door.js';
import { hostileText } from '../inputs/hostile.js';
import { RPCS } from '../rpcs/all-rpcs.js';
import { specOf } from '../rpcs/malformed-requests.js';
import type { ServicesUnderFuzz } from '../services-under-fuzz.js';

/** A gRPC frame: a flag, a length, and bytes that may differ from it. */
interface Frame {
  readonly flag: number;
  readonly claimed: number | undefined;
  readonly bytes: Uint8Array;
}

/** A call as HTTP/2 carries it. */
interface RawCall {
  readonly path: string;
  readonly method: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly frames: readonly Frame[];
  readonly end: 'finish' | 'reset';
}

const RANK = '/collectivekv.v1.RankingService/Rank';
const RESET_CODES = [1, 2, 5, 7, 8, 11];
const HEADERS = [
  'grpc-encoding',
  'grpc-timeout',
  'grpc-accept-encoding',
  'content-type',
  'authorization',
  'x-a',
  'a-bin',
];
const VALUES = [
  '',
  'gzip',
  'deflate',
  'identity',
  'br',
  '0S',
  '1n',
  '99999999H',
  '-1S',
  'x',
  '999999999999S',
  'application/grpc+json',
  'application/json',
  '!!',
  'AAAA',
  'a'.repeat(3_000),
];

const [valid] = RPCS.filter(({ name }) => name === 'RankingService/Rank');
const validBytes = specOf('RankingService', 'Rank').requestSerialize(valid?.valid ?? {});
const payload = fc.oneof(
  fc.constantFrom(validBytes, gzipSync(validBytes), gzipSync(Buffer.alloc(1_000_000)), Buffer.alloc(0)),
  fc.uint8Array({ maxLength: 64 }),
);
const frame: fc.Arbitrary<Frame> = fc.record({
  flag: fc.constantFrom(0, 0, 0, 1, 1, 2, 127, 255),
  claimed: fc.option(fc.constantFrom(0, 1, 5, 1_000, 2 ** 24, 2 ** 24 + 1, 2 ** 31, 2 ** 32 - 1), { nil: undefined }),
  bytes: payload,
});
const headerValue = fc.oneof(
  fc.constantFrom(...VALUES),
  hostileText.map((text) => text.replace(/[^\x20-\x7e]/g, '').trim()),
);

/** Calls with wrong paths, headers, flags, lengths and encodings, which end early or late. */
export function grpcFramesDoor({ stack, stillRight }: ServicesUnderFuzz): Door<RawCall> {
  let session: ClientHttp2Session | undefined;

  /** Returns a session. The service may have ended the last one: many resets look like an attack. */
  function openSession(): ClientHttp2Session {
    if (session && !session.closed && !session.destroyed) return session;
    const opened = connect(`http://${stack.targets.ranking}`);
    opened.on('error', () => undefined);
    opened.on('goaway', () => {
      if (session === opened) session = undefined;
      setImmediate(() => opened.destroy()); // not inside the callback: nghttp2 is still reading
    });
    session = opened;
    return opened;
  }

  return {
    name: 'gRPC frames',
    inputs: fc.record({
      path: fc.oneof(
        { weight: 4, arbitrary: fc.constantFrom(RANK, '/collectivekv.v1.RankingService/RankStream') },
        fc.constantFrom('/', '', '*', `${RANK}/`, '/grpc.health.v1.Health/Check', '/grpc.health.v1.Health/Watch'),
        fc.constantFrom('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', '/__proto__/constructor'),
        hostileText.map((text) => `/${text.replace(/[^\x21-\x7e]/g, '')}`),
      ),
      method: fc.constantFrom('POST', 'POST', 'POST', 'GET', 'OPTIONS', 'PUT', 'X'),
      headers: fc.array(fc.tuple(fc.constantFrom(...HEADERS), headerValue), { maxLength: 4 }),
      frames: fc.array(frame, { maxLength: 4 }),
      end: fc.constantFrom('finish' as const, 'finish' as const, 'reset' as const),
    }),
    async judge({ path, method, headers, frames, end }) {
      const sent: OutgoingHttpHeaders = {
        ':method': method,
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      };
      for (const [name, value] of headers) sent[name] = value;
      const stream = openSession().request(sent);
      stream.on('error', () => undefined); // a reset, from either side
      let status: string | undefined;
      const read = (found: { readonly 'grpc-status'?: unknown; readonly ':status'?: unknown }) => {
        status ??= found['grpc-status'] === undefined ? undefined : String(found['grpc-status']);
        if (status === undefined && found[':status'] !== undefined && found[':status'] !== 200) status = 'http';
      };
      let reason = '';
      stream.on('response', (found) => {
        read(found);
        reason ||= String(found['ckv-reason'] ?? '');
      });
      stream.on('trailers', (found) => {
        read(found);
        reason ||= String(found['ckv-reason'] ?? '');
      });
      stream.resume();
      const closed = new Promise((resolve) => stream.once('close', resolve));
      for (const { flag, claimed, bytes } of frames) {
        const head = Buffer.alloc(5);
        head.writeUInt8(flag, 0);
        head.writeUInt32BE(claimed ?? bytes.length, 1);
        stream.write(Buffer.concat([head, bytes]));
      }
      if (end === 'reset') {
        stream.close(RESET_CODES[path.length % RESET_CODES.length] ?? 8);
        stream.destroy(); // Node waits for writes that the reset made void
      } else stream.end();
      await closed;
      if (reason === 'bug' || reason === 'dependency_unavailable') throw new Error(`the call failed with ${reason}`);
      return status === '0' ? 'accepted' : 'refused';
    },
    stillRight,
    async close() {
      session?.destroy();
    },
  };
}
