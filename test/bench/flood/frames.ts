/** Types of HTTP/2 frames (RFC 9113, section 6). */
export const FRAME = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Flags of HTTP/2 frames. `ack` is of SETTINGS and PING, the others of HEADERS and DATA. */
export const FLAG = { ack: 0x1, endStream: 0x1, endHeaders: 0x4 } as const;

const HEAD_BYTES = 9;
const MAX_PAYLOAD_BYTES = 16_384;

/** Returns a frame. */
export function frameOf(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  if (payload.length > MAX_PAYLOAD_BYTES) throw new Error(`a frame has ${payload.length} bytes, 16,384 are allowed`);
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** Puts frames on a stream. */
export function setStream(frames: Buffer, streamId: number): void {
  for (let at = 0; at < frames.length; at += HEAD_BYTES + frames.readUIntBE(at, 3)) {
    frames.writeUInt32BE(streamId, at + 5);
  }
}

/** Returns the bytes that frames take of a window: the payload of DATA. */
export function windowBytesOf(frames: Buffer): number {
  let bytes = 0;
  for (let at = 0; at < frames.length; at += HEAD_BYTES + frames.readUIntBE(at, 3)) {
    if (frames.readUInt8(at + 3) === FRAME.data) bytes += frames.readUIntBE(at, 3);
  }
  return bytes;
}

/** Returns 4 bytes. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Returns a block of headers without compression. Names and values have at most 126 bytes. */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const text = (part: string) => Buffer.concat([Buffer.from([part.length]), Buffer.from(part, 'latin1')]);
  const literals = Object.entries(headers).map(([name, value]) =>
    Buffer.concat([Buffer.from([0]), text(name), text(value)]),
  );
  return Buffer.concat(literals);
}

/** Takes the frames of a connection. */
export type OnFrame = (type: number, flags: number, streamId: number, payload: Buffer) => void;

/** Returns a function that takes the bytes of a connection, and passes on its frames. */
export function createFrameReader(onFrame: OnFrame): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      const payload = bytes.subarray(at + HEAD_BYTES, end);
      onFrame(bytes.readUInt8(at + 3), bytes.readUInt8(at + 4), bytes.readUInt32BE(at + 5), payload);
      at = end;
    }
    rest = bytes.subarray(at);
  };
}
