import { describe, expect, it } from 'vitest';
import { fixtureManifest, fixtureModel } from './manifest.fixture.js';
import { createRowLayout, newestRows, readField, writeElement } from './row-layout.js';

describe('a row layout', () => {
  const { layout } = fixtureModel(); // uint8 route, int8 x 0.5, float16, uint32

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

  it('refuses rows of more than 65,535 bytes', () => {
    const manifest = fixtureManifest();
    manifest.record.fields.push({ kind: 'user', name: 'wide', type: 'float16', width: 32_763 });
    expect(createRowLayout(manifest).strideBytes).toBe(65_534);
    manifest.record.fields.push({ kind: 'user', name: 'more', type: 'float16', width: 1 });
    expect(() => createRowLayout(manifest)).toThrow(/a row takes 65536 bytes, at most 65535/);
  });
});
