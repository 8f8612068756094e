import { expect, it } from 'vitest';
import { keepArchitecture } from './fat-binary.js';

/** Makes a fat binary with an entry of 8 bytes for each architecture. */
function fatBinary(...architectures: number[]): Buffer {
  const entries = architectures.map((architecture) => {
    const entry = Buffer.alloc(64 + 8, 0);
    entry.writeUInt16LE(2, 0);
    entry.writeUInt32LE(64, 4);
    entry.writeBigUInt64LE(8n, 8);
    entry.writeUInt32LE(architecture, 28);
    return entry.fill(architecture, 64);
  });
  const header = Buffer.alloc(16);
  header.writeUInt32LE(0xba55ed50, 0);
  header.writeUInt16LE(1, 4);
  header.writeUInt16LE(16, 6);
  header.writeBigUInt64LE(BigInt(entries.length * 72), 8);
  return Buffer.concat([header, ...entries]);
}
const other = Buffer.from('other code');

it('clears the code of other architectures in every fat binary, and nothing else', () => {
  const library = Buffer.concat([other, fatBinary(80, 90, 120), other, fatBinary(90, 80)]);
  const before = Buffer.from(library);
  expect(keepArchitecture(library, 90)).toEqual({ keptBytes: 16, clearedBytes: 24 });
  const codeOf = (architecture: number) => Buffer.alloc(8, architecture);
  const after = Buffer.from(before);
  for (const cleared of [80, 120]) {
    for (let at = after.indexOf(codeOf(cleared)); at >= 0; at = after.indexOf(codeOf(cleared)))
      after.fill(0, at, at + 8);
  }
  expect(library.equals(after)).toBe(true);
});

it('leaves bytes that only begin like a fat binary', () => {
  const false1 = Buffer.concat([Buffer.from([0x50, 0xed, 0x55, 0xba]), Buffer.alloc(12, 7)]);
  const false2 = fatBinary(80).subarray(0, 60); // its entries end behind it
  const library = Buffer.concat([false1, fatBinary(90), false2]);
  const before = Buffer.from(library);
  expect(keepArchitecture(library, 90)).toEqual({ keptBytes: 8, clearedBytes: 0 });
  expect(library.equals(before)).toBe(true);
});

it('names the architectures that the library has', () => {
  expect(() => keepArchitecture(fatBinary(90, 80), 75)).toThrow('code for 80, 90, none for 75; give another --sm');
  expect(() => keepArchitecture(other, 90)).toThrow('no device code');
});
