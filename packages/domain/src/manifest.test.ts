import { describe, expect, it } from 'vitest';
import { codebookManifest, fixtureManifest, fullManifest, historyManifest, manifestBytes } from './manifest.fixture.js';
import { bundleIdOf, type Manifest, parseManifest } from './manifest.js';

type Draft = { -readonly [K in keyof Manifest]: Manifest[K] };

/** Each breaks one rule; the second entry must stand in the error. */
const BREAKS: [string, (draft: Draft) => void, RegExp][] = [
  ['a schema of the future', (m) => Object.assign(m, { schemaVersion: 2 }), /schemaVersion/],
  ['a key that the schema does not have', (m) => Object.assign(m, { extra: 1 }), /extra/],
  [
    'a path that leaves the bundle',
    (m) => m.files.push({ path: '../x', bytes: 0, sha256: 'a'.repeat(64) }),
    /files\.7\.path.*inside the bundle/,
  ],
  [
    'an absolute path',
    (m) => Object.assign(m.graphs.encode, { file: '/etc/passwd' }),
    /graphs\.encode\.file.*relative/,
  ],
  ['a digest that is none', (m) => Object.assign(m.files[0] ?? {}, { sha256: 'abc' }), /files\.0\.sha256.*sha256/],
  ['a graph that is not listed', (m) => m.files.splice(0, 1), /graphs\.encode\.file: encode\.onnx is not in files/],
  [
    'more slots than a byte holds',
    (m) => Object.assign(m.record.fields[0] ?? {}, { slots: 257 }),
    /257 slots do not fit uint8/,
  ],
  [
    'a pool of another size than its routes',
    (m) => Object.assign(m.groups[0]?.pool ?? {}, { slots: 3 }),
    /4 slots, the pool has 3/,
  ],
  [
    'int8 dims without scales',
    (m) => Object.assign(m.record.fields[1] ?? {}, { scale: [] }),
    /user_key\.scale: 0 scales for 1/,
  ],
  [
    'a raw field without a source',
    (m) => Object.assign(m.record.fields[3] ?? {}, { source: 'nope' }),
    /time\.source: no interaction feature nope/,
  ],
  [
    'a group of an unknown route',
    (m) => Object.assign(m.groups[0]?.key ?? {}, { route: 'nope' }),
    /key\.route: no route field nope/,
  ],
  [
    'float32 dims with scales',
    (m) => Object.assign(m.record.fields[1] ?? {}, { type: 'float32' }),
    /user_key\.scale: float32 takes none/,
  ],
  [
    'an input whose type is not what its field can give',
    (m) => Object.assign(m.graphs.rank.inputs.find(({ role }) => role === 'user') ?? {}, { type: 'float16' }),
    /graphs\.rank\.inputs\.user_key\.type: float16 of a int8 field, float32 or the field's own float16/,
  ],
  ['a group part without anything', (m) => Object.assign(m.groups[0] ?? {}, { key: {} }), /needs a route/],
  [
    'a role that its graph cannot have',
    (m) => m.graphs.encode.inputs.push({ name: 'x', role: 'candidate_item', type: 'int64', shape: [] }),
    /candidate_item has no meaning in encode/,
  ],
  [
    'an encode graph that takes slots instead of positions',
    (m) =>
      m.graphs.encode.inputs.push({
        name: 'x',
        role: 'distinct_slots',
        field: 'route',
        type: 'int64',
        shape: ['slots'],
      }),
    /distinct_slots has no meaning in encode/,
  ],
  [
    'an encode graph that takes the history of an unknown field',
    (m) => m.graphs.encode.inputs.push({ name: 'x', role: 'user', field: 'nope', type: 'float32', shape: [] }),
    /graphs\.encode\.inputs\.x\.field: no user field nope/,
  ],
  [
    'no position at all as the newest ones',
    (m) => Object.assign(m.graphs.rank.inputs.find(({ role }) => role === 'routes') ?? {}, { last: 0 }),
    /graphs\.rank\.inputs\.\d\.last/,
  ],
  [
    'more of the newest positions than a graph may ask for',
    (m) => Object.assign(m.graphs.rank.inputs.find(({ role }) => role === 'user') ?? {}, { last: 65_537 }),
    /graphs\.rank\.inputs\.\d\.last/,
  ],
  [
    'slots of the newest positions',
    (m) => Object.assign(m.graphs.rank.inputs.find(({ role }) => role === 'distinct_slots') ?? {}, { last: 5 }),
    /last/,
  ],
  [
    'an input of an unknown feature',
    (m) =>
      m.graphs.rank.inputs.push({ name: 'x', role: 'context_feature', feature: 'nope', type: 'float32', shape: [1] }),
    /no context feature nope/,
  ],
  [
    'an input of an unknown group',
    (m) =>
      m.graphs.gather.inputs.push({ name: 'x', role: 'slots', group: 'nope', part: 'key', type: 'int64', shape: [] }),
    /no group nope/,
  ],
  [
    'an encode graph that leaves a field out',
    (m) => m.graphs.encode.outputs.splice(1, 1),
    /none fills the field user_key/,
  ],
  [
    'two scores',
    (m) => m.graphs.rank.outputs.push({ name: 'x', role: 'scores', type: 'float32', shape: [] }),
    /exactly one scores/,
  ],
  ['a field twice', (m) => m.record.fields.push(structuredClone(m.record.fields[0]) as never), /route stands twice/],
  [
    'a default out of bounds',
    (m) => Object.assign(m.features.context[0] ?? {}, { default: 99 }),
    /features\.context\.0.*default/,
  ],
  [
    'golden vectors that are not listed',
    (m) => Object.assign(m.golden, { served: 'golden/other.json' }),
    /golden\/other\.json is missing/,
  ],
];

describe('parseManifest', () => {
  it('accepts the fixture', () => {
    expect(parseManifest(manifestBytes(fixtureManifest())).name).toBe('fixture');
  });

  it.each([
    ['an encode graph with history', historyManifest()],
    ['a codebook with a group of its own', codebookManifest()],
    ['keys and values in full', fullManifest()],
  ])('accepts %s', (_, manifest) => {
    expect(parseManifest(manifestBytes(manifest))).toEqual(manifest);
  });

  it.each(BREAKS)('refuses %s', (_, breakIt, message) => {
    const draft = fixtureManifest();
    breakIt(draft);
    expect(() => parseManifest(manifestBytes(draft))).toThrow(message);
  });

  it('reports all problems at once', () => {
    const draft = fixtureManifest();
    draft.files.splice(0, 2);
    draft.graphs.encode.outputs.splice(0, 1);
    expect(() => parseManifest(manifestBytes(draft))).toThrow(/3 problem\(s\).*field route.*encode\.onnx.*rank\.onnx/);
  });

  it('refuses bytes that are no JSON', () => {
    expect(() => parseManifest(Buffer.from('{'))).toThrow(/not JSON/);
  });

  it('names a bundle by the digest of its manifest', () => {
    expect(bundleIdOf(Buffer.from('abc'))).toBe('ba7816bf8f01cfea');
  });
});
