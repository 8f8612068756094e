import { beforeEach, describe, expect, it } from 'vitest';
import { fixtureManifest, fixtureModel } from './manifest.fixture.js';
import type { RecordField } from './manifest-schema.js';
import { createRowLayout, newestRows, type RowLayout, readField, writeElement } from './row-layout.js';

describe('a row layout', () => {
  let layout: RowLayout; // uint8 route, int8 x 0.5, float16, uint32
  beforeEach(() => {
    layout = fixtureModel().layout;
  });

  it('places the fields in order, without padding', () => {
    expect(layout.fields.map(({ name, offsetBytes }) => [name, offsetBytes])).toEqual([
      ['route', 0],
      ['user_key', 1],
      ['user_value', 2],
      ['time', 4],
    ]);
    expect(layout.strideBytes).toBe(8);
  });

  it.each([
    [0.74, 0.5],
    [0.76, 1],
    [-0.74, -0.5],
    [-0.76, -1],
    [1_000, 63.5],
    [-1_000, -63.5],
  ])('rounds an int8 element to the nearest of 127 steps either way: %f to %f', (value, stored) => {
    const row = new Uint8Array(layout.strideBytes);
    writeElement(new DataView(row.buffer), 0, layout.field('user_key'), 0, value);
    const read = new Float32Array(1);
    readField(row, layout.strideBytes, layout.field('user_key'), read);
    expect(read[0]).toBe(stored);
  });

  it.each([
    [0, []],
    [2, [1, 2]],
    [3, [0, 1, 2]],
    [9, [0, 1, 2]],
  ])('finds the newest %i rows of a history of 3', (count, newest) => {
    const rows = Uint8Array.from([0, 1, 2].flatMap((place) => Array<number>(layout.strideBytes).fill(place)));
    const seen = newestRows(layout, rows, count);
    expect(seen.length).toBe(newest.length * layout.strideBytes);
    expect(newest.map((_, i) => seen[i * layout.strideBytes])).toEqual(newest);
  });

  it.each([
    ['uint8', 254, 'fe'],
    ['uint16', 0xfedc, 'dcfe'],
    ['uint24', 0xfedcba, 'badcfe'],
    ['uint32', 0xfedcba, 'badcfe00'],
  ] as const)('writes and reads a %s route of any row, little-endian', (type, slot, golden) => {
    const manifest = fixtureManifest();
    manifest.record.fields = [
      { kind: 'user', name: 'odd', type: 'int8', width: 1, scale: [1] },
      { kind: 'route', name: 'route', type, width: 1, slots: 1 },
    ];
    const wide = createRowLayout(manifest);
    const rows = new Uint8Array(3 * wide.strideBytes).fill(0xee);
    const view = new DataView(rows.buffer);
    [slot, 1, slot].forEach((value, i) => {
      writeElement(view, i * wide.strideBytes, wide.field('route'), 0, value);
    });
    expect(Buffer.from(rows.subarray(0, wide.strideBytes)).toString('hex')).toBe(`ee${golden}`);
    const read = new Int32Array(3);
    readField(rows, wide.strideBytes, wide.field('route'), read);
    expect([...read]).toEqual([slot, 1, slot]);
  });

  it('refuses rows of more than 65,535 bytes', () => {
    const manifest = fixtureManifest();
    manifest.record.fields.push({ kind: 'user', name: 'wide', type: 'float16', width: 32_763 });
    manifest.record.fields.push({ kind: 'raw', name: 'last', type: 'uint8', width: 1, source: 'watch_ratio' });
    expect(createRowLayout(manifest).strideBytes).toBe(65_535);
    manifest.record.fields.push({ kind: 'raw', name: 'more', type: 'uint8', width: 1, source: 'watch_ratio' });
    const message = 'record.fields: a row takes 65536 bytes, at most 65535 are allowed; export narrower fields';
    expect(() => createRowLayout(manifest)).toThrow(expect.objectContaining({ reason: 'bundle_invalid', message }));
  });

  it('throws a bug for an unknown field', () => {
    const bug = expect.objectContaining({ reason: 'bug', message: 'no record field nope' });
    expect(() => layout.field('nope')).toThrow(bug);
  });
});

describe('readField', () => {
  const scaled = { type: 'int8', scale: [0.5, 2, 0.25] };
  it.each([
    ['uint8', { kind: 'raw', type: 'uint8', width: 1 }, [0, 7, 255]],
    ['uint16', { kind: 'raw', type: 'uint16', width: 1 }, [0, 258, 65_535]],
    ['uint32', { kind: 'raw', type: 'uint32', width: 1 }, [0, 16_909_060, 2 ** 31]],
    ['int8', { kind: 'user', ...scaled, width: 3 }, [0.5, -2, 0.25, -63.5, 254, 31.75]],
    ['float16', { kind: 'user', type: 'float16', width: 2 }, [0, -2.5, 1, 65_504]],
    ['float32', { kind: 'user', type: 'float32', width: 2 }, [0, -2.5, 1e30, 1.5]],
    ['wide float32', { kind: 'user', type: 'float32', width: 16 }, Array.from({ length: 48 }, (_, i) => i - 24.5)],
  ] as const)('reads the %s elements of every row that writeElement wrote', (_, shape, values) => {
    const manifest = fixtureManifest();
    manifest.record.fields.push({ name: 'field', source: 'watch_ratio', ...shape } as unknown as RecordField);
    const { strideBytes, field } = createRowLayout(manifest);
    const rowCount = values.length / shape.width;
    const bytes = Buffer.alloc(1 + strideBytes * rowCount, 0xee); // an odd offset, as in a message
    const view = new DataView(bytes.buffer, bytes.byteOffset + 1);
    values.forEach((value, i) => {
      writeElement(view, Math.floor(i / shape.width) * strideBytes, field('field'), i % shape.width, value);
    });
    const read = new Float32Array(values.length);
    readField(bytes.subarray(1), strideBytes, field('field'), read);
    expect([...read]).toEqual([...Float32Array.from(values)]);
  });
});
