import { describe, expect, it } from 'vitest';
import { CkvError } from '../errors.js';
import { createBundleModel } from './bundle-model.js';
import { factoredManifest, factoredModel } from './factored.fixture.js';
import { manifestBytes } from './manifest.fixture.js';
import { parseManifest } from './manifest.js';
import type { ClusteringSpec, GraphInput, Manifest } from './manifest-schema.js';

type Draft = Omit<Manifest, 'clusterings'> & { clusterings: [ClusteringSpec, ...ClusteringSpec[]] };

const [ITEM_TERM, EVENT_TERM] = [0, 1];
const [ITEMS, EVENTS] = [0, 1];
const [BY_ITEM, BY_EVENT] = [0, 1];
const ITEM = { field: 'item', clusters: 6 };

/** What the manifest has, how to break the factored fixture so, and the whole list of problems to expect. */
const BREAKS: [string, (draft: Draft) => void, string][] = [
  [
    'a value part without a width',
    (m) => delete m.groups[EVENTS]?.pool.valueWidth,
    'groups.events.pool.valueWidth: is missing',
  ],
  [
    'a value width without a value part',
    (m) => Object.assign(m.groups[ITEMS]?.pool ?? {}, { valueWidth: 2 }),
    'groups.items.pool.valueWidth: is given, the group has no value part',
  ],
  [
    'a value input of a group without a value part',
    (m) => m.graphs.rankKv.inputs.push({ name: 'x', role: 'value', group: 'items', type: 'float32', shape: [] }),
    'graphs.rankKv.inputs.x.group: items has no value part',
  ],
  [
    'value slots of a group without a value part',
    (m) =>
      m.graphs.gather.inputs.push({
        name: 'x',
        role: 'slots',
        group: 'items',
        part: 'value',
        type: 'int64',
        shape: [],
      }),
    'graphs.gather.inputs.x.group: items has no value part',
  ],
  [
    'a clustering by an unknown field',
    (m) => Object.assign(m.clusterings[0].by[BY_ITEM] ?? {}, { field: 'nope' }),
    'clusterings.history.by.0.field: no route field nope',
  ],
  [
    'a clustering by a field that is not a route',
    (m) => Object.assign(m.clusterings[0].by[BY_EVENT] ?? {}, { field: 'time' }),
    'clusterings.history.by.1.field: no route field time',
  ],
  [
    'a cluster map that is not listed',
    (m) => m.files.pop(),
    'clusterings.history.by.1.map: clusters-event.bin is not in files',
  ],
  [
    'a cluster map of another length',
    (m) => Object.assign(m.files.at(-1) ?? {}, { bytes: 6 }),
    'clusterings.history.by.1.map: clusters-event.bin has 6 bytes, 3 slots of 1 byte each are required',
  ],
  [
    'a cluster map of one byte per slot for more than 256 clusters',
    (m) => Object.assign(m.clusterings[0].by[BY_ITEM] ?? {}, { clusters: 257 }),
    'clusterings.history.by.0.map: clusters-item.bin has 6 bytes, 6 slots of 2 bytes each are required',
  ],
  [
    'no cluster map for a field with more slots than clusters',
    (m) => delete m.clusterings[0].by[BY_EVENT]?.map,
    'clusterings.history.by.1: event has 3 slots for 2 clusters, a map is required',
  ],
  [
    'fields that give more than 65,536 clusters together',
    (m) => byEventTwice(m, 256, 257),
    'clusterings.history.by: gives 65792 clusters, at most 65536 are allowed',
  ],
  [
    'a term of an unknown field',
    (m) => Object.assign(m.clusterings[0].terms[EVENT_TERM] ?? {}, { field: 'nope' }),
    'clusterings.history.terms.1.field: no route field nope',
  ],
  [
    'a term of an unknown group',
    (m) => Object.assign(m.clusterings[0].terms[ITEM_TERM]?.rows ?? {}, { group: 'nope' }),
    'clusterings.history.terms.0.rows.group: no group nope',
  ],
  [
    'a term of a part that its group lacks',
    (m) => Object.assign(m.clusterings[0].terms[ITEM_TERM]?.rows ?? {}, { part: 'value' }),
    'clusterings.history.terms.0.rows.part: group items has no value part',
  ],
  [
    'a scale of an unknown field',
    (m) => Object.assign(m.clusterings[0].terms[ITEM_TERM]?.scale ?? {}, { field: 'nope' }),
    'clusterings.history.terms.0.scale.field: no route field nope',
  ],
  [
    'rows that another field routes',
    (m) => Object.assign(m.clusterings[0].terms[ITEM_TERM]?.scale ?? {}, { field: 'item' }),
    'clusterings.history.terms.0.scale.rows: the key part of group events is routed by event, item is required',
  ],
  [
    'a width that rows do not have',
    (m) => Object.assign(m.groups[EVENTS]?.pool ?? {}, { valueWidth: 3 }),
    'clusterings.history.terms.1.rows: value rows of group events are 3 wide, 2 is required',
  ],
  [
    'rows that the gather graph does not take slots for',
    (m) => m.graphs.gather.inputs.pop(),
    'clusterings.history.terms.1.rows: graphs.gather does not serve the value rows of group events',
  ],
  [
    'rows that the gather graph does not give',
    (m) => m.graphs.gather.outputs.shift(),
    'clusterings.history.terms.0.rows: graphs.gather does not serve the key rows of group items',
  ],
  [
    'an input of an unknown clustering',
    (m) => Object.assign(m.graphs.rank.inputs[3] ?? {}, { clustering: 'nope' }),
    'graphs.rank.inputs.counts.clustering: no clustering nope',
  ],
  [
    'cluster means of another type',
    (m) => Object.assign(m.graphs.rankKv.inputs[4] ?? {}, { type: 'float16' }),
    'graphs.rankKv.inputs.means.type: float16, float32 is required',
  ],
  [
    'an encode graph that takes cluster counts',
    (m) =>
      m.graphs.encode.inputs.push({
        name: 'x',
        role: 'cluster_counts',
        clustering: 'history',
        type: 'float32',
        shape: [],
      }),
    'graphs.encode.inputs.x.role: encode takes no cluster_counts',
  ],
  [
    'position embeddings of an unknown clustering',
    (m) => m.graphs.rank.inputs.push(embeddings('nope')),
    'graphs.rank.inputs.embeddings.clustering: no clustering nope',
  ],
  [
    'position embeddings of another type',
    (m) => m.graphs.rankKv.inputs.push({ ...embeddings('history'), type: 'float16' }),
    'graphs.rankKv.inputs.embeddings.type: float16, float32 is required',
  ],
  [
    'an encode graph that takes position embeddings',
    (m) => m.graphs.encode.inputs.push(embeddings('history')),
    'graphs.encode.inputs.embeddings.role: encode takes no position_embeddings',
  ],
  [
    'a duplicated clustering',
    (m) => m.clusterings.push(structuredClone(m.clusterings[0])),
    'clusterings: history is duplicated',
  ],
];

function embeddings(clustering: string): GraphInput {
  return { name: 'embeddings', role: 'position_embeddings', clustering, last: 16, type: 'float32', shape: [] };
}

function byEventTwice({ clusterings: [clustering] }: Draft, ...clusters: number[]): void {
  clustering.by = clusters.map((clusters) => ({ field: 'event', clusters }));
}

describe('a manifest with clusterings', () => {
  it('is accepted', () => {
    expect(parseManifest(manifestBytes(factoredManifest()))).toEqual(factoredManifest());
  });

  it('may have 65,536 clusters by several fields', () => {
    const draft = factoredManifest() as Draft;
    byEventTwice(draft, 256, 256);
    expect(parseManifest(manifestBytes(draft)).clusterings).toEqual(draft.clusterings);
  });

  it.each(BREAKS)('is refused if it has %s', (_, breakIt, problems) => {
    const draft = factoredManifest() as Draft;
    breakIt(draft);
    expect(() => parseManifest(manifestBytes(draft))).toThrow(
      new CkvError('bundle_invalid', `bundle.json has 1 problem: ${problems}`),
    );
  });

  it.each([
    ['65,537 clusters of a field', { by: [{ ...ITEM, clusters: 65_537 }] }, /clusterings\.0\.by\.0\.clusters: .*65536/],
    ['no field', { by: [] }, /clusterings\.0\.by/],
    ['more than four fields', { by: Array(5).fill(ITEM) }, /clusterings\.0\.by/],
    ['no terms', { terms: [] }, /clusterings\.0\.terms/],
    ['a map outside the bundle', { by: [{ ...ITEM, map: '../x' }] }, /clusterings\.0\.by\.0\.map: must stay inside/],
    ['an unknown key', { by: [{ ...ITEM, maps: 'x' }] }, /clusterings\.0\.by\.0.*maps/],
  ])('is refused if a clustering has %s', (_, change, message) => {
    const draft = factoredManifest();
    Object.assign(draft.clusterings?.[0] ?? {}, change);
    expect(() => parseManifest(manifestBytes(draft))).toThrow(message);
  });

  it('is refused if a table of rows exceeds 4 GiB', () => {
    const draft = factoredManifest({ items: 16_777_216, itemType: 'uint24', width: 65 });
    const problem = 'clusterings.history.terms.0.rows: 16777216 rows of width 65 exceed 4 GiB; use narrower rows';
    expect(() => parseManifest(manifestBytes(draft))).toThrow(`has 1 problem: ${problem}`);
    parseManifest(manifestBytes(factoredManifest({ items: 16_777_216, itemType: 'uint24', width: 64 })));
  });
});

describe('the cluster map', () => {
  it('is one per field; the clusters of the fields multiply', () => {
    const { clusters, by } = factoredModel(factoredManifest({ clusters: 5, eventClusters: 3 })).clustering('history');
    expect(clusters).toBe(15);
    expect(by).toEqual([
      { field: 'item', clusters: 5, clusterOf: Buffer.of(0, 1, 2, 3, 4, 0) },
      { field: 'event', clusters: 3, clusterOf: Buffer.of(0, 1, 2) },
    ]);
  });

  const clusterOf = (clusters: number) =>
    factoredModel(factoredManifest({ items: 600, itemType: 'uint16', clusters })).clustering('history').by[BY_ITEM]
      ?.clusterOf;

  it('has a byte per slot for up to 256 clusters, else two', () => {
    expect(clusterOf(256)).toBeInstanceOf(Uint8Array);
    expect(clusterOf(257)).toBeInstanceOf(Uint16Array);
    expect([256, 257, 600].map((clusters) => clusterOf(clusters)?.[599])).toEqual([599 - 512, 599 - 514, 599]);
  });

  it('is absent if each slot is its own cluster', () => {
    const manifest = factoredManifest();
    Object.assign(manifest.clusterings?.[0] ?? {}, { by: [ITEM] });
    expect(factoredModel(manifest).clustering('history')).toMatchObject({
      clusters: 6,
      by: [{ ...ITEM, clusterOf: undefined }],
    });
  });

  it('is refused if it has a cluster beyond the clustering', () => {
    const parts = { manifestBytes: manifestBytes(factoredManifest()), itemIds: ['', 'a', 'b'] };
    const clusterMaps = new Map([
      ['clusters-item.bin', Uint8Array.of(0, 1, 0, 1, 1, 0)],
      ['clusters-event.bin', Uint8Array.of(0, 1, 2)],
    ]);
    expect(() => createBundleModel({ ...parts, clusterMaps })).toThrow(
      'clusterings.history.by.1.map: clusters-event.bin puts slot 2 into cluster 2, there are 2; export the bundle again',
    );
    expect(() => createBundleModel(parts)).toThrow('the cluster map clusters-item.bin was not read');
  });

  it('is not found under an unknown name', () => {
    expect(() => factoredModel().clustering('nope')).toThrow('no clustering nope');
  });
});
