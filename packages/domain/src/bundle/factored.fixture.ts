import { type BundleModel, createBundleModel } from './bundle-model.js';
import { fixtureManifest, manifestBytes } from './manifest.fixture.js';
import type { ClusteringSpec, GraphInput, Manifest, RecordField } from './manifest-schema.js';

/** Sizes of {@link factoredManifest}. */
export interface FactoredSizes {
  readonly items: number;
  readonly itemType: Extract<RecordField, { kind: 'route' }>['type'];
  readonly events: number;
  readonly clusters: number;
  readonly width: number;
}

const SMALL: FactoredSizes = { items: 6, itemType: 'uint8', events: 3, clusters: 2, width: 2 };

/**
 * Returns the fixture with a factored pool: item rows scaled and shifted by event rows, and the clustering `history`
 * by item. A row is the item, the event and a time.
 */
export function factoredManifest(sizes: Partial<FactoredSizes> = {}): Manifest {
  const { items, itemType, events, clusters, width } = { ...SMALL, ...sizes };
  const manifest = fixtureManifest();
  manifest.record.fields = [
    { kind: 'route', name: 'item', type: itemType, width: 1, slots: items },
    { kind: 'route', name: 'event', type: 'uint8', width: 1, slots: events },
    { kind: 'raw', name: 'time', type: 'uint32', width: 1, source: 'timestamp_s' },
  ];
  manifest.groups = [
    { name: 'items', pool: { slots: items, keyWidth: width }, key: { route: 'item' } },
    {
      name: 'events',
      pool: { slots: events, keyWidth: width, valueWidth: width },
      key: { route: 'event' },
      value: { route: 'event' },
    },
  ];
  manifest.clusterings = [factoredClustering(clusters, width)];
  manifest.files.push({
    path: 'clusters.bin',
    bytes: items * (clusters <= 256 ? 1 : 2),
    sha256: manifest.files[0]?.sha256 ?? '',
  });
  const { encode, rank, rankKv, gather } = manifest.graphs;
  encode.outputs = ['item', 'event'].map((field) => ({
    name: field,
    role: 'field',
    field,
    type: 'int64',
    shape: ['batch', 1],
  }));
  const clusterInputs: GraphInput[] = [
    { name: 'counts', role: 'cluster_counts', clustering: 'history', type: 'float32', shape: ['clusters'] },
    { name: 'means', role: 'cluster_means', clustering: 'history', type: 'float32', shape: ['clusters', width] },
  ];
  rank.inputs = [...rank.inputs.slice(0, 3), ...clusterInputs];
  rankKv.inputs = [...rankKv.inputs.slice(0, 3), ...structuredClone(clusterInputs)];
  const parts = [
    { group: 'items', part: 'key' },
    { group: 'events', part: 'key' },
    { group: 'events', part: 'value' },
  ] as const;
  gather.inputs = parts.map(({ group, part }) => {
    return { name: `${group}_${part}_slots`, role: 'slots', group, part, type: 'int64', shape: ['n'] };
  });
  gather.outputs = parts.map(({ group, part }) => {
    return { name: `${group}_${part}_rows`, role: 'rows', group, part, type: 'float32', shape: ['n', width] };
  });
  return manifest;
}

/** Returns the model of a factored manifest. By default slot i is in cluster i modulo the number of clusters. */
export function factoredModel(manifest = factoredManifest(), clusterOf?: readonly number[]): BundleModel {
  const maps = (manifest.clusterings ?? []).map((one) => clusterMap(manifest, one, clusterOf));
  const clusterMaps = new Map((manifest.clusterings ?? []).map(({ by }, i) => [by.map ?? '', maps[i] ?? Buffer.of()]));
  return createBundleModel({ manifestBytes: manifestBytes(manifest), itemIds: ['', 'a', 'b'], clusterMaps });
}

function factoredClustering(clusters: number, width: number): ClusteringSpec {
  return {
    name: 'history',
    clusters,
    width,
    by: { field: 'item', map: 'clusters.bin' },
    terms: [
      {
        field: 'item',
        rows: { group: 'items', part: 'key' },
        scale: { field: 'event', rows: { group: 'events', part: 'key' } },
      },
      { field: 'event', rows: { group: 'events', part: 'value' } },
    ],
  };
}

function clusterMap({ record }: Manifest, { by, clusters }: ClusteringSpec, clusterOf?: readonly number[]): Uint8Array {
  const field = record.fields.find(({ name }) => name === by.field);
  const slots = field?.kind === 'route' ? field.slots : 0;
  const bytes = Buffer.alloc(slots * (clusters <= 256 ? 1 : 2));
  for (let slot = 0; slot < slots; slot++) {
    const cluster = clusterOf?.[slot] ?? slot % clusters;
    if (clusters <= 256) bytes.writeUInt8(cluster, slot);
    else bytes.writeUInt16LE(cluster, 2 * slot);
  }
  return bytes;
}
