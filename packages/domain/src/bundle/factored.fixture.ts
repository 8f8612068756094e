import { type BundleModel, createBundleModel } from './bundle-model.js';
import { fixtureManifest, manifestBytes } from './manifest.fixture.js';
import type { ClusteringSpec, GraphInput, Manifest, RecordField } from './manifest-schema.js';

/** Sizes of {@link factoredManifest}. */
export interface FactoredSizes {
  readonly items: number;
  readonly itemType: Extract<RecordField, { kind: 'route' }>['type'];
  readonly events: number;
  /** Clusters of items. */
  readonly clusters: number;
  /** Clusters of events. */
  readonly eventClusters: number;
  readonly width: number;
}

/** The cluster of each slot, by field. */
export type ClusterMaps = Readonly<Record<string, readonly number[]>>;

type ClusteredBy = ClusteringSpec['by'][number];

const SMALL: FactoredSizes = { items: 6, itemType: 'uint8', events: 3, clusters: 2, eventClusters: 2, width: 2 };

/**
 * Returns the fixture with a factored pool: item rows scaled and shifted by event rows, and the clustering `history`
 * by item and event. A row is the item, the event and a time.
 */
export function factoredManifest(sizes: Partial<FactoredSizes> = {}): Manifest {
  const { items, itemType, events, clusters, eventClusters, width } = { ...SMALL, ...sizes };
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
  manifest.clusterings = [factoredClustering(clusters, eventClusters, width)];
  listClusterMaps(manifest);
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

/** Lists the cluster maps of a manifest's clusterings among its files, in place of earlier ones. */
export function listClusterMaps(manifest: Manifest): void {
  const maps = (manifest.clusterings ?? []).flatMap(({ by }) =>
    by.flatMap((one) => (one.map === undefined ? [] : { path: one.map, bytes: mapBytes(manifest, one) })),
  );
  const others = manifest.files.filter(({ path }) => !path.startsWith('clusters-'));
  manifest.files = [...others, ...maps.map((file) => ({ ...file, sha256: others[0]?.sha256 ?? '' }))];
}

/** Returns the model of a factored manifest. By default slot i is in cluster i modulo the number of clusters. */
export function factoredModel(manifest = factoredManifest(), clusterOf: ClusterMaps = {}): BundleModel {
  const by = (manifest.clusterings ?? []).flatMap((clustering) => clustering.by);
  const clusterMaps = new Map(by.map((one) => [one.map ?? '', clusterMap(manifest, one, clusterOf)]));
  return createBundleModel({ manifestBytes: manifestBytes(manifest), itemIds: ['', 'a', 'b'], clusterMaps });
}

function factoredClustering(clusters: number, eventClusters: number, width: number): ClusteringSpec {
  return {
    name: 'history',
    width,
    by: [
      { field: 'item', clusters, map: 'clusters-item.bin' },
      { field: 'event', clusters: eventClusters, map: 'clusters-event.bin' },
    ],
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

function slotsOf({ record }: Manifest, wanted: string): number {
  const field = record.fields.find(({ name }) => name === wanted);
  return field?.kind === 'route' ? field.slots : 0;
}

function mapBytes(manifest: Manifest, { field, clusters }: ClusteredBy): number {
  return slotsOf(manifest, field) * (clusters <= 256 ? 1 : 2);
}

function clusterMap(manifest: Manifest, by: ClusteredBy, clusterOf: ClusterMaps): Uint8Array {
  const { field, clusters } = by;
  const bytes = Buffer.alloc(mapBytes(manifest, by));
  for (let slot = 0; slot < slotsOf(manifest, field); slot++) {
    const cluster = clusterOf[field]?.[slot] ?? slot % clusters;
    if (clusters <= 256) bytes.writeUInt8(cluster, slot);
    else bytes.writeUInt16LE(cluster, 2 * slot);
  }
  return bytes;
}
