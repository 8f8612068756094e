import { packIds } from '@collectivekv/rpc';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Capture, estimateBytes, readCapture, writeCapture } from './capture.js';

const text = fc.string({ maxLength: 12, unit: 'grapheme' });
const floats = fc.float32Array({ maxLength: 5 });
const columns = fc.array(fc.record({ name: text, values: floats }), { maxLength: 3 });
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const interaction = fc.record({
  eventId: text,
  userId: fc.constant('u'),
  itemId: text,
  timestampMs: fc.nat(),
  action: text,
  features: fc.dictionary(text, fc.double()),
});
const capture: fc.Arbitrary<Capture> = fc.record({
  captureId: fc.constant('c'),
  takenAtMs: fc.nat(),
  environment: fc.record({
    service: text,
    onnxruntime: text,
    processor: text,
    provider: fc.constantFrom('cpu', 'cuda', 'webgpu'),
    precision: fc.constantFrom('float32', 'tf32'),
    threadsPerWorker: fc.integer({ min: 1, max: 64 }),
    poolMode: fc.constantFrom('replica', 'remote'),
  }),
  bundleId: fc.constant('0123456789abcdef'),
  encodingId: text,
  query: fc.record({
    userId: fc.constant('u'),
    candidateIds: fc.array(text, { minLength: 1, maxLength: 5 }).map((ids) => packIds(ids, 'ids')),
    candidateFeatures: columns,
    contextFeatures: columns,
    recentInteractions: fc.array(interaction, { maxLength: 3 }),
    historyPolicy: fc.constantFrom('preferred', 'required', 'ignored'),
  }),
  recordBytes: fc.option(bytes, { nil: undefined }),
  recordMissing: fc.constantFrom(undefined, 'deadline'),
  rowsMissing: fc.constantFrom(undefined, 'overloaded'),
  partCount: fc.integer({ min: 1, max: 64 }),
  answer: fc.record({
    scores: floats,
    positionCount: fc.nat(),
    rung: fc.constantFrom('full', 'recent_only', 'no_history'),
  }),
});

/** The bits of all numbers: -0 is not 0, and a NaN is itself. */
const bitsOf = (one: Capture) => ({
  ...one,
  query: {
    ...one.query,
    candidateIds: Array.from({ length: one.query.candidateIds.length }, (_, i) => one.query.candidateIds.at(i)),
    recentInteractions: one.query.recentInteractions.map(({ features, ...rest }) => ({
      ...rest,
      features: Object.entries(features).map(([name, value]) => [name, Buffer.from(Float64Array.of(value).buffer)]),
    })),
  },
  answer: { ...one.answer, scores: Buffer.from(one.answer.scores.slice().buffer).toString('hex') },
});

it('a capture is read as it was written, bit for bit', () => {
  fc.assert(
    fc.property(capture, (one) => {
      expect(bitsOf(readCapture('c', writeCapture(one)))).toEqual(bitsOf(one));
    }),
  );
});

it('the estimate of a size is not below the size, unless names are long', () => {
  fc.assert(
    fc.property(capture, (one) => {
      expect(estimateBytes(one)).toBeGreaterThanOrEqual(writeCapture(one).length);
    }),
  );
});

it.each([
  ['no JSON', 'x', 'c: is no capture; name a file that ranking wrote'],
  ['another JSON', '{}', 'c: is no capture of this version (captureId'],
])('%s is refused', (_, json, message) => {
  expect(() => readCapture('c', Buffer.from(json))).toThrow(message);
});
