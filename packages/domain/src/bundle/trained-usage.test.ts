import { expect, it } from 'vitest';
import { createBundleModel } from './bundle-model.js';
import { fixtureManifest, manifestBytes } from './manifest.fixture.js';

const COUNTS = [7, 0, 2, 70_000];

/** Returns a manifest whose encode graph has a folder of its own, as exported bundles do. */
function manifestOf() {
  const manifest = fixtureManifest();
  const [graph] = manifest.files;
  if (!graph) throw new Error('the fixture has no files');
  manifest.graphs.encode.file = graph.path = 'encode/encode.onnx';
  return manifest;
}

/** Returns the model of a bundle that counts its training, with these bytes in the file. */
function modelWith(bytes: Uint8Array | undefined, positions = COUNTS.reduce((sum, count) => sum + count, 0)) {
  const manifest = manifestOf();
  Object.assign(manifest.training, { slotUsage: [{ field: 'route', file: 'usage.bin', positions }] });
  manifest.files.push({ path: 'usage.bin', bytes: 16, sha256: 'a'.repeat(64) });
  const slotUsage = bytes && new Map([['usage.bin', bytes]]);
  const itemIds = ['', 'a', 'b'];
  return createBundleModel({ manifestBytes: manifestBytes(manifest), itemIds, ...(slotUsage ? { slotUsage } : {}) });
}

const packed = () => Buffer.from(Uint32Array.from(COUNTS).buffer);

it('reads the counts of a route field, wherever its bytes begin', () => {
  const shifted = Buffer.concat([Buffer.of(0), packed()]).subarray(1);
  for (const bytes of [packed(), shifted])
    expect(modelWith(bytes).trainedUsage.get('route')).toEqual(Uint32Array.from(COUNTS));
});

it('has none for a bundle that does not count its training', () => {
  const model = createBundleModel({ manifestBytes: manifestBytes(manifestOf()), itemIds: ['', 'a', 'b'] });
  expect(model.trainedUsage.size).toBe(0);
});

it('does not change the encoding', () => {
  const plain = createBundleModel({ manifestBytes: manifestBytes(manifestOf()), itemIds: ['', 'a', 'b'] });
  expect(modelWith(packed()).encodingId).toBe(plain.encodingId);
  expect(modelWith(packed()).id).not.toBe(plain.id);
});

it.each([
  ['no file', undefined, undefined, 'usage.bin: has no 4 counts'],
  ['half of a count', packed().subarray(2), undefined, 'usage.bin: has no 4 counts'],
  ['another sum', packed(), 9, 'usage.bin: counts 70009 positions, bundle.json says 9'],
])('refuses %s', (_, bytes, positions, message) => {
  expect(() => modelWith(bytes, positions)).toThrow(message);
});
