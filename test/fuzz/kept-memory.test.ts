import { createGunzip, gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { keptMb } from './kept-memory.js';

const packed = gzipSync('text');
/** Makes unpackers that hold memory outside the heap. Nobody closes them. */
const unpackers = () =>
  Array.from({ length: 500 }, () =>
    createGunzip()
      .resume()
      .on('error', () => undefined),
  );

it('counts memory outside the heap that is still in use, and none that is garbage', async () => {
  const before = await keptMb();
  const used = unpackers();
  for (const one of used) one.write(packed);
  const whileUsed = await keptMb();
  expect(used).toHaveLength(500);
  expect(whileUsed - before).toBeGreaterThan(4);
  used.length = 0;
  expect((await keptMb()) - before).toBeLessThan((whileUsed - before) / 4);
});
