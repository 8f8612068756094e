import { describe, expect, it } from 'vitest';
import {
  addExplainGraph,
  codebookManifest,
  fixtureManifest,
  fullManifest,
  historyManifest,
  manifestBytes,
} from './manifest.fixture.js';
import { bundleIdOf, parseManifest } from './manifest.js';
import {
  GRAPH_NAMES,
  type GraphInput,
  graphNamesOf,
  type KvGroup,
  type Manifest,
  type RecordField,
  type RequiredGraphName,
} from './manifest-schema.js';

type Draft = { -readonly [K in keyof Manifest]: Manifest[K] };

/** Adds counts of training for the fixture's 4 slots. */
function count({ training, files }: Draft, changes: { field?: string; file?: string } = {}, bytes = 16): void {
  const usage = { field: 'route', file: 'usage.bin', positions: 10, ...changes };
  Object.assign(training, { slotUsage: [...(training.slotUsage ?? []), usage] });
  if (!files.some(({ path }) => path === 'usage.bin')) files.push({ path: 'usage.bin', bytes, sha256: 'a'.repeat(64) });
}

/** What the manifest has, how to break the fixture so, and the error to expect. */
const BREAKS: [string, (draft: Draft) => void, RegExp][] = [
  ['a newer schema version', (m) => Object.assign(m, { schemaVersion: 2 }), /schemaVersion/],
  ['an unknown key', (m) => Object.assign(m, { extra: 1 }), /extra/],
  ['counts of a field that is no route', (m) => count(m, { field: 'time' }), /slotUsage\.time\.field: no route field/],
  ['counts in a file that is not listed', (m) => count(m, { file: 'none.bin' }), /none\.bin is not in files/],
  ['a count too few', (m) => count(m, {}, 12), /usage\.bin has 12 bytes, 16 are required/],
  [
    'two counts of a field',
    (m) => {
      count(m);
      count(m);
    },
    /training\.slotUsage: route is duplicated/,
  ],
  [
    'counts of too many slots',
    (m) => {
      Object.assign(m.record.fields[0] ?? {}, { type: 'uint24', slots: 1_048_577 });
      count(m);
    },
    /slotUsage\.route: 1048577 slots, at most 1048576 are counted/,
  ],
  [
    'a path that leaves the bundle',
    (m) => m.files.push({ path: '../x', bytes: 0, sha256: 'a'.repeat(64) }),
    /files\.7\.path.*inside the bundle/,
  ],
  [
    'a second path of a file',
    (m) => m.files.push({ path: 'golden/./tensors.bin', bytes: 0, sha256: 'a'.repeat(64) }),
    /files\.7\.path.*no folder named/,
  ],
  [
    'an absolute path',
    (m) => Object.assign(m.graphs.encode, { file: '/etc/passwd' }),
    /graphs\.encode\.file.*relative/,
  ],
  [
    'a digest that is not a sha256',
    (m) => Object.assign(m.files[0] ?? {}, { sha256: 'abc' }),
    /files\.0\.sha256.*sha256/,
  ],
  [
    'a graph file that is not listed',
    (m) => m.files.splice(0, 1),
    /graphs\.encode\.file: encode\.onnx is not in files/,
  ],
  [
    'more slots than a byte holds',
    (m) => Object.assign(m.record.fields[0] ?? {}, { slots: 257 }),
    /257 slots do not fit uint8, use uint16/,
  ],
  [
    'more slots than two bytes hold',
    (m) => Object.assign(m.record.fields[0] ?? {}, { type: 'uint16', slots: 65_537 }),
    /record\.fields\.route: 65537 slots do not fit uint16, use uint24/,
  ],
  [
    'more slots than three bytes hold',
    (m) => Object.assign(m.record.fields[0] ?? {}, { type: 'uint32', slots: 16_777_217 }),
    /record\.fields\.0\.slots: .*16777216/,
  ],
  [
    'a pool and a route field with different slot counts',
    (m) => Object.assign(m.groups[0]?.pool ?? {}, { slots: 3 }),
    /4 slots, the pool has 3/,
  ],
  [
    'int8 dims without scales',
    (m) => Object.assign(m.record.fields[1] ?? {}, { scale: [] }),
    /user_key\.scale: 0 scales for 1/,
  ],
  [
    'a raw field of an unknown feature',
    (m) => Object.assign(m.record.fields[3] ?? {}, { source: 'nope' }),
    /time\.source: no interaction feature nope/,
  ],
  [
    'a group with an unknown route field',
    (m) => Object.assign(m.groups[0]?.key ?? {}, { route: 'nope' }),
    /key\.route: no route field nope/,
  ],
  [
    'a group whose route is a user field',
    (m) => Object.assign(m.groups[0]?.value ?? {}, { route: 'user_key' }),
    /groups\.history\.value\.route: no route field user_key/,
  ],
  [
    'a group with an unknown user field',
    (m) => Object.assign(m.groups[0]?.key ?? {}, { user: 'nope' }),
    /groups\.history\.key\.user: no user field nope/,
  ],
  [
    'a group whose user field is a route field',
    (m) => Object.assign(m.groups[0]?.value ?? {}, { user: 'route' }),
    /groups\.history\.value\.user: no user field route/,
  ],
  [
    'int8 dims with no scale at all',
    (m) => Object.assign(m.record.fields[1] ?? {}, { scale: undefined }),
    /user_key\.scale: 0 scales for 1 dimension/,
  ],
  [
    'int8 dims with too many scales',
    (m) => Object.assign(m.record.fields[1] ?? {}, { scale: [1, 1] }),
    /user_key\.scale: 2 scales for 1 dimension/,
  ],
  [
    'float32 dims with scales',
    (m) => Object.assign(m.record.fields[1] ?? {}, { type: 'float32' }),
    /user_key\.scale: float32 takes no scale/,
  ],
  [
    'an input type that its field cannot fill',
    (m) => Object.assign(m.graphs.rank.inputs.find(({ role }) => role === 'user') ?? {}, { type: 'float16' }),
    /graphs\.rank\.inputs\.user_key\.type: float16 of a int8 field, float32 or the field's own float16/,
  ],
  ['a group part without route and user field', (m) => Object.assign(m.groups[0] ?? {}, { key: {} }), /needs a route/],
  [
    'an input role that its graph does not take',
    (m) => m.graphs.encode.inputs.push({ name: 'x', role: 'candidate_item', type: 'int64', shape: [] }),
    /encode takes no candidate_item/,
  ],
  [
    'an encode graph that takes distinct slots',
    (m) =>
      m.graphs.encode.inputs.push({
        name: 'x',
        role: 'distinct_slots',
        field: 'route',
        type: 'int64',
        shape: ['slots'],
      }),
    /encode takes no distinct_slots/,
  ],
  [
    'an encode input of an unknown field',
    (m) => m.graphs.encode.inputs.push({ name: 'x', role: 'user', field: 'nope', type: 'float32', shape: [] }),
    /graphs\.encode\.inputs\.x\.field: no user field nope/,
  ],
  [
    'a last of 0',
    (m) => Object.assign(m.graphs.rank.inputs.find(({ role }) => role === 'routes') ?? {}, { last: 0 }),
    /graphs\.rank\.inputs\.\d\.last/,
  ],
  [
    'a last above 65,536',
    (m) => Object.assign(m.graphs.rank.inputs.find(({ role }) => role === 'user') ?? {}, { last: 65_537 }),
    /graphs\.rank\.inputs\.\d\.last/,
  ],
  [
    'a last on distinct slots',
    (m) => Object.assign(m.graphs.rank.inputs.find(({ role }) => role === 'distinct_slots') ?? {}, { last: 5 }),
    /last/,
  ],
  [
    'an input of a field of another kind',
    (m) => m.graphs.rank.inputs.push({ name: 'x', role: 'user', field: 'time', type: 'float32', shape: [] }),
    /graphs\.rank\.inputs\.x\.field: no user field time/,
  ],
  [
    'a raw input that is not float32',
    (m) => m.graphs.rank.inputs.push({ name: 'x', role: 'raw', field: 'time', type: 'int64', shape: [] }),
    /graphs\.rank\.inputs\.x\.type: int64 of a uint32 field/,
  ],
  [
    'an output whose role its graph does not have',
    (m) => m.graphs.gather.outputs.push({ name: 'x', role: 'scores', type: 'float32', shape: [] }),
    /graphs\.gather\.outputs\.x\.role: scores, rows is required/,
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
    'an encode graph without an output for a field',
    (m) => m.graphs.encode.outputs.splice(1, 1),
    /no output fills the field user_key/,
  ],
  [
    'two scores outputs',
    (m) => m.graphs.rank.outputs.push({ name: 'x', role: 'scores', type: 'float32', shape: [] }),
    /exactly one scores/,
  ],
  [
    'an explain graph without base scores',
    (m) => addExplainGraph(m).outputs.splice(1, 1),
    /graphs\.explain\.outputs: exactly one base_scores output is required/,
  ],
  [
    'an explain graph without attention',
    (m) => addExplainGraph(m).outputs.splice(4),
    /graphs\.explain\.outputs: an attention output is required/,
  ],
  [
    'an explain graph with an output of another graph',
    (m) => addExplainGraph(m).outputs.push({ name: 'x', role: 'field', field: 'route', type: 'int64', shape: [] }),
    /graphs\.explain\.outputs\.x\.role: field, scores or .* is required/,
  ],
  [
    'an explain graph that is not listed',
    (m) => Object.assign(addExplainGraph(m), { file: 'other.onnx' }),
    /graphs\.explain\.file: other\.onnx is not in files/,
  ],
  [
    'places of an unknown field',
    (m) => addExplainGraph(m).inputs.push({ name: 'x', role: 'slot_places', field: 'time', type: 'int64', shape: [] }),
    /graphs\.explain\.inputs\.x\.field: no route field time/,
  ],
  [
    'a duplicated field',
    (m) => m.record.fields.push(structuredClone(m.record.fields[0]) as never),
    /route is duplicated/,
  ],
  [
    'a default outside its bounds',
    (m) => Object.assign(m.features.context[0] ?? {}, { default: 99 }),
    /features\.context\.0.*default/,
  ],
  [
    'a golden file that is not listed',
    (m) => Object.assign(m.golden, { served: 'golden/other.json' }),
    /golden\/other\.json is missing/,
  ],
];

function repeatFirst<T>(list: T[]): void {
  list.push(...structuredClone(list.slice(0, 1)));
}

describe('parseManifest', () => {
  it('accepts the fixture', () => {
    expect(parseManifest(manifestBytes(fixtureManifest())).name).toBe('fixture');
  });

  it.each([
    ['an encode graph with inputs over positions', historyManifest()],
    ['a codebook with a group of its own', codebookManifest()],
    ['a full model', fullManifest()],
  ])('accepts %s', (_, manifest) => {
    expect(parseManifest(manifestBytes(manifest))).toEqual(manifest);
  });

  it.each(BREAKS)('refuses %s', (_, breakIt, message) => {
    const draft = fixtureManifest();
    breakIt(draft);
    expect(() => parseManifest(manifestBytes(draft))).toThrow(
      expect.objectContaining({ reason: 'bundle_invalid', message: expect.stringMatching(message) }),
    );
  });

  it.each([
    ['record.fields', 'route', (m: Draft) => m.record.fields.push(structuredClone(m.record.fields[0]) as RecordField)],
    ['groups', 'history', (m: Draft) => m.groups.push(structuredClone(m.groups[0]) as KvGroup)],
    ['files', 'encode.onnx', (m: Draft) => m.files.push({ path: 'encode.onnx', bytes: 1, sha256: 'a'.repeat(64) })],
    ['actions', 'click', (m: Draft) => m.actions.push('click')],
    ['features.interaction', 'watch_ratio', (m: Draft) => repeatFirst(m.features.interaction)],
    ['features.candidate', 'freshness', (m: Draft) => repeatFirst(m.features.candidate)],
    ['features.context', 'hour', (m: Draft) => repeatFirst(m.features.context)],
  ])('refuses a duplicate in %s', (path, name, repeat) => {
    const draft = fixtureManifest();
    repeat(draft);
    expect(() => parseManifest(manifestBytes(draft))).toThrow(
      `bundle.json has 1 problem: ${path}: ${name} is duplicated`,
    );
  });

  it('takes exactly the input roles that docs/wire-format.md lists for each graph', () => {
    const inputs: GraphInput[] = (
      [
        { role: 'interaction_item' },
        { role: 'interaction_action' },
        { role: 'interaction_feature', feature: 'watch_ratio' },
        { role: 'candidate_item' },
        { role: 'candidate_feature', feature: 'freshness' },
        { role: 'context_feature', feature: 'hour' },
        { role: 'routes', field: 'route' },
        { role: 'distinct_slots', field: 'route' },
        { role: 'slot_counts', field: 'route' },
        { role: 'user', field: 'user_key' },
        { role: 'raw', field: 'time' },
        { role: 'key', group: 'history' },
        { role: 'value', group: 'history' },
        { role: 'slots', group: 'history', part: 'key' },
      ] as const
    ).map((input) => ({ name: 'x', type: 'float32', shape: [], ...input }));
    const rolesOf = (graph: RequiredGraphName) =>
      inputs.flatMap((input) => {
        const draft = fixtureManifest();
        draft.graphs[graph].inputs.push(input);
        try {
          parseManifest(manifestBytes(draft));
          return [input.role];
        } catch (error) {
          expect(String(error)).toContain(`graphs.${graph}.inputs.x.role: ${graph} takes no ${input.role}`);
          return [];
        }
      });
    const candidate = ['candidate_item', 'candidate_feature', 'context_feature'];
    expect({
      encode: rolesOf('encode'),
      rank: rolesOf('rank'),
      rankKv: rolesOf('rankKv'),
      gather: rolesOf('gather'),
    }).toEqual({
      encode: ['interaction_item', 'interaction_action', 'interaction_feature', 'routes', 'user', 'raw'],
      rank: [...candidate, 'routes', 'distinct_slots', 'slot_counts', 'user', 'raw'],
      rankKv: [...candidate, 'raw', 'key', 'value'],
      gather: ['slots'],
    });
  });

  it('accepts an explain graph, and knows which graphs a bundle has', () => {
    const draft = fixtureManifest();
    expect(graphNamesOf(draft)).toEqual(GRAPH_NAMES);
    addExplainGraph(draft);
    const parsed = parseManifest(manifestBytes(draft));
    expect(parsed).toEqual(draft);
    expect(graphNamesOf(parsed)).toEqual([...GRAPH_NAMES, 'explain']);
  });

  it('accepts a second feature as the source of a raw field and as an input', () => {
    const draft = fixtureManifest();
    draft.features.interaction.push({ name: 'dwell', default: 0, min: 0, max: 9 });
    draft.record.fields.push({ kind: 'raw', name: 'dwell', type: 'float32', width: 1, source: 'dwell' });
    const input = { name: 'x', role: 'interaction_feature', feature: 'dwell', type: 'float32', shape: [] } as const;
    draft.graphs.encode.inputs.push({ ...input, shape: [] });
    expect(parseManifest(manifestBytes(draft))).toEqual(draft);
  });

  it('accepts routes of 256 slots in a byte and of 65,536 in two', () => {
    for (const [type, slots] of [
      ['uint8', 256],
      ['uint16', 65_536],
    ] as const) {
      const draft = fixtureManifest();
      Object.assign(draft.record.fields[0] ?? {}, { type, slots });
      Object.assign(draft.groups[0]?.pool ?? {}, { slots });
      expect(parseManifest(manifestBytes(draft)).record.fields[0]).toMatchObject({ type, slots });
    }
  });

  it.each([
    ['family', ['a', '0', 'a-b_c', 'a'.repeat(64)], ['', 'A', '-a', '_a', 'a!', '!a', 'a'.repeat(65)]],
    ['name', ['a', '-', 'a-0', 'a'.repeat(64)], ['', 'A', 'a_b', 'a!', '!a', 'a'.repeat(65)]],
  ])('bounds the characters of %s', (key, accepted, refused) => {
    for (const value of accepted)
      expect(parseManifest(manifestBytes({ ...fixtureManifest(), [key]: value }))).toBeDefined();
    for (const value of refused) {
      expect(() => parseManifest(manifestBytes({ ...fixtureManifest(), [key]: value }))).toThrow(`: ${key}: `);
    }
  });

  it.each([
    [
      'path',
      ['a', 'a/b.bin', 'a-b/c_d/e'],
      ['', '/a', 'a/', 'a//b', 'a b', '..', 'a/../b', '.', './a', 'a/./b', 'a\\b'],
    ],
    ['bytes', [0, 1, 2 ** 40], [-1, 0.5]],
    ['sha256', ['0'.repeat(64), `${'9af'.repeat(21)}f`], ['', '0'.repeat(63), '0'.repeat(65), 'g'.repeat(64)]],
  ])('bounds the %s of a listed file', (key, accepted, refused) => {
    const withFile = (value: unknown) => {
      const file = { path: 'more', bytes: 0, sha256: '0'.repeat(64), [key]: value };
      return manifestBytes({ ...fixtureManifest(), files: [...fixtureManifest().files, file] });
    };
    for (const value of accepted) expect(parseManifest(withFile(value)).files).toHaveLength(8);
    for (const value of refused) expect(() => parseManifest(withFile(value))).toThrow(`: files.7.${key}: `);
  });

  it.each(['bundle.json', 'bundle.json.sig', 'Bundle.JSON'])('lists no file named %s', (path) => {
    const draft = fixtureManifest();
    draft.files.push({ path, bytes: 0, sha256: '0'.repeat(64) });
    expect(() => parseManifest(manifestBytes(draft))).toThrow(
      `bundle.json has 1 problem: files: ${path} is the name of a file that is not listed`,
    );
  });

  it.each([
    [0, 0, 1, true],
    [0, 1, 1, true],
    [0, -0.1, 1, false],
    [0, 1.1, 1, false],
  ])('takes a feature from %f with default %f up to %f: %s', (min, fallback, max, accepted) => {
    const draft = fixtureManifest();
    Object.assign(draft.features.context[0] ?? {}, { min, max, default: fallback });
    const parse = () => parseManifest(manifestBytes(draft));
    if (accepted) expect(parse()).toEqual(draft);
    else expect(parse).toThrow('features.context.0: default must lie within min and max');
  });

  it.each(['uint8', 'uint16', 'uint32', 'float16', 'float32'] as const)('accepts a raw field of %s', (type) => {
    const draft = fixtureManifest();
    draft.record.fields.push({ kind: 'raw', name: 'more', type, width: 1, source: 'timestamp_s' });
    expect(parseManifest(manifestBytes(draft))).toEqual(draft);
  });

  it('names bundle.json itself for a problem without a path', () => {
    expect(() => parseManifest(Buffer.from('[]'))).toThrow(/^bundle\.json has 1 problem: bundle\.json: /);
  });

  it('reports all problems at once', () => {
    const draft = fixtureManifest();
    draft.files.splice(0, 2);
    draft.graphs.encode.outputs.splice(0, 1);
    expect(() => parseManifest(manifestBytes(draft))).toThrow(/3 problems.*field route.*encode\.onnx.*rank\.onnx/);
  });

  it('refuses bytes that are not JSON', () => {
    expect(() => parseManifest(Buffer.from('{'))).toThrow(
      expect.objectContaining({
        reason: 'bundle_invalid',
        message: 'bundle.json is not JSON; export the bundle again',
        cause: expect.any(SyntaxError),
      }),
    );
  });

  it('names a bundle by the digest of its manifest', () => {
    expect(bundleIdOf(Buffer.from('abc'))).toBe('ba7816bf8f01cfea');
  });
});
