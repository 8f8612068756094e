import { counted } from '../counted.js';
import { clusterCount } from './clustering.js';
import type { ClusteringSpec, Manifest, PoolPart } from './manifest-schema.js';

type ClusteredBy = ClusteringSpec['by'][number];

/** Numbers that a table of rows in memory may have: 4 GiB of float32. */
const MOST_TABLE_NUMBERS = 2 ** 30;
const MOST_CLUSTERS = 65_536;

/**
 * Checks the clusterings of a manifest: fields and groups that they name, widths and the cluster map.
 * @returns one line per problem, each with the path of the problem
 */
export function clusteringProblems(manifest: Manifest): string[] {
  return (manifest.clusterings ?? []).flatMap((clustering) => {
    const at = `clusterings.${clustering.name}`;
    const terms = clustering.terms.flatMap(({ field, rows, scale }, i) => [
      ...partProblems(manifest, clustering, { at: `${at}.terms.${i}`, field, rows }),
      ...(scale ? partProblems(manifest, clustering, { at: `${at}.terms.${i}.scale`, ...scale }) : []),
    ]);
    const maps = clustering.by.flatMap((by, i) => mapProblems(manifest, by, `${at}.by.${i}`));
    const count = clusterCount(clustering);
    if (count > MOST_CLUSTERS) maps.push(`${at}.by: gives ${count} clusters, at most ${MOST_CLUSTERS} are allowed`);
    return [...maps, ...terms];
  });
}

function mapProblems(manifest: Manifest, { field: name, clusters, map }: ClusteredBy, at: string): string[] {
  const field = routeField(manifest, name);
  if (!field) return [`${at}.field: no route field ${name}`];
  if (map === undefined) {
    if (field.slots <= clusters) return [];
    return [`${at}: ${name} has ${field.slots} slots for ${clusters} clusters, a map is required`];
  }
  const file = manifest.files.find(({ path }) => path === map);
  if (!file) return [`${at}.map: ${map} is not in files`];
  const slotBytes = clusters <= 256 ? 1 : 2;
  if (file.bytes === field.slots * slotBytes) return [];
  return [
    `${at}.map: ${map} has ${file.bytes} bytes, ${field.slots} slots of ${counted(slotBytes, 'byte')} each are required`,
  ];
}

/** Checks that rows of a pool can be added up: by slot of the field, as wide as the clustering, and gathered. */
function partProblems(
  manifest: Manifest,
  clustering: ClusteringSpec,
  { at, field, rows }: { at: string; field: string; rows: PoolPart },
): string[] {
  if (!routeField(manifest, field)) return [`${at}.field: no route field ${field}`];
  const group = manifest.groups.find(({ name }) => name === rows.group);
  if (!group) return [`${at}.rows.group: no group ${rows.group}`];
  const part = group[rows.part];
  if (!part) return [`${at}.rows.part: group ${rows.group} has no ${rows.part} part`];
  const problems: string[] = [];
  if (part.route !== field) {
    const found = part.route === undefined ? 'has no route' : `is routed by ${part.route}`;
    problems.push(`${at}.rows: the ${rows.part} part of group ${rows.group} ${found}, ${field} is required`);
  }
  const width = rows.part === 'key' ? group.pool.keyWidth : group.pool.valueWidth;
  if (width !== undefined && width !== clustering.width) {
    problems.push(
      `${at}.rows: ${rows.part} rows of group ${rows.group} are ${width} wide, ${clustering.width} is required`,
    );
  }
  if (group.pool.slots * clustering.width > MOST_TABLE_NUMBERS) {
    problems.push(`${at}.rows: ${group.pool.slots} rows of width ${clustering.width} exceed 4 GiB; use narrower rows`);
  }
  const { inputs, outputs } = manifest.graphs.gather;
  const gathered =
    inputs.some((one) => one.role === 'slots' && one.group === rows.group && one.part === rows.part) &&
    outputs.some((one) => one.role === 'rows' && one.group === rows.group && one.part === rows.part);
  if (!gathered) problems.push(`${at}.rows: graphs.gather does not serve the ${rows.part} rows of group ${rows.group}`);
  return problems;
}

function routeField({ record }: Manifest, name: string) {
  const field = record.fields.find((one) => one.name === name);
  return field?.kind === 'route' ? field : undefined;
}
