import fc from 'fast-check';
import { answerTo } from '../answer-to.js';
import { damagedBytes } from '../inputs/damaged-bytes.js';
import type { ServicesUnderFuzz } from '../services-under-fuzz.js';
import type { Surface } from '../surface.js';

/** Bytes on a new connection. */
interface RawConnection {
  readonly to: 'pool' | 'user-cache' | 'ranking' | 'updater' | 'metrics';
  readonly bytes: Buffer;
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const ONES = Buffer.alloc(4, 0xff);

/** Returns an HTTP/2 frame. */
function frame(type: number, flags: number, stream: number, payload: Uint8Array, claimed = payload.length): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(claimed, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block: literal fields without indexing. */
function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.of(value.length & 0x7f), Buffer.from(value.slice(0, 127))]);
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

const HEADERS = headerBlock([
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/collectivekv.v1.RankingService/Rank'],
  [':authority', 'x'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
]);
const SETTINGS = frame(4, 0, 0, Buffer.alloc(0));
const PING = frame(6, 0, 0, Buffer.alloc(8));
const REQUEST = [SETTINGS, frame(1, 4, 1, HEADERS), frame(0, 1, 1, Buffer.from([0, 0, 0, 0, 3, 10, 1, 117]))];
const SEEDS = [
  Buffer.concat([PREFACE, ...REQUEST]),
  Buffer.concat([PREFACE, SETTINGS, frame(4, 1, 0, Buffer.alloc(0)), PING, frame(8, 0, 0, ONES)]),
  Buffer.concat([PREFACE, SETTINGS, frame(1, 0, 1, HEADERS.subarray(0, 20)), frame(9, 4, 1, HEADERS.subarray(20))]),
  Buffer.concat([PREFACE, ...REQUEST, frame(3, 0, 1, Buffer.alloc(4)), frame(7, 0, 0, Buffer.alloc(8))]),
  Buffer.concat([
    PREFACE,
    frame(4, 0, 0, Buffer.from([0, 4, 0xff, 0xff, 0xff, 0xff])),
    frame(2, 0, 1, Buffer.alloc(5)),
  ]),
  Buffer.concat([PREFACE, SETTINGS, ...Array<Buffer>(200).fill(PING)]),
  Buffer.concat([PREFACE, SETTINGS, frame(0, 0, 1, Buffer.alloc(10), 2 ** 24 - 1)]),
  Buffer.from('GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
  Buffer.from(
    'POST /readyz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ),
  Buffer.from(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`),
  Buffer.from('\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03', 'latin1'), // the start of a TLS handshake
];

/** Connections that carry damaged HTTP/2 or HTTP/1, to the gRPC port and to the metrics port of the services. */
export function connectionsSurface({ stack, stillRight }: ServicesUnderFuzz): Surface<RawConnection> {
  const addressOf = (to: RawConnection['to']) =>
    to === 'metrics' ? (stack.services.ranking[0]?.metricsAddress ?? '') : stack.targets[to];
  return {
    name: 'connections',
    inputs: fc.record({
      to: fc.constantFrom('ranking', 'ranking', 'pool', 'user-cache', 'updater', 'metrics'),
      bytes: damagedBytes(SEEDS),
    }),
    async judge({ to, bytes }) {
      const answer = await answerTo(bytes, addressOf(to));
      return answer.toString('latin1').startsWith('HTTP/1.1 200') ? 'accepted' : 'refused';
    },
    stillRight,
  };
}
