import { describe, expect, it } from 'vitest';
import { createFrameReader, FLAG, FRAME, frameOf, headerBlock, setStream, windowBytesOf } from './frames.js';
import { createTrailerReader } from './grpc-trailers.js';

const headers = frameOf(FRAME.headers, FLAG.endHeaders, 0, Buffer.from('head'));
const body = frameOf(FRAME.data, FLAG.endStream, 0, Buffer.from('a body'));

describe('frames', () => {
  it('are read as they were made, however the bytes are cut', () => {
    const frames = Buffer.concat([headers, body]);
    setStream(frames, 7);
    for (let cut = 0; cut <= frames.length; cut++) {
      const read: unknown[] = [];
      const take = createFrameReader((type, flags, streamId, payload) =>
        read.push([type, flags, streamId, String(payload)]),
      );
      take(frames.subarray(0, cut));
      take(frames.subarray(cut));
      expect(read).toEqual([
        [FRAME.headers, FLAG.endHeaders, 7, 'head'],
        [FRAME.data, FLAG.endStream, 7, 'a body'],
      ]);
    }
  });

  it('take the window that their DATA has, and no more', () => {
    expect(windowBytesOf(Buffer.concat([headers, body, headers]))).toBe('a body'.length);
  });

  it('have 16,384 bytes at most', () => {
    expect(() => frameOf(FRAME.data, 0, 0, Buffer.alloc(16_385))).toThrow('16,384');
  });
});

it.each([
  [
    { ':status': '200', 'grpc-status': '8', 'ckv-retry-after-ms': '100' },
    { status: 8, retryAfterMs: 100 },
  ],
  [{ 'grpc-status': '0' }, { status: 0, retryAfterMs: undefined }],
  [{ ':status': '200' }, undefined],
])('trailers are read again from what is known of them: %j', (given, wanted) => {
  const read = createTrailerReader();
  for (let i = 0; i < 2; i++) expect(read(headerBlock(given))).toEqual(wanted);
});
