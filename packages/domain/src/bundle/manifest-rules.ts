import { counted } from '../counted.js';
import { repeated } from '../repeated.js';
import { clusteringProblems } from './clustering-rules.js';
import { type GraphInput, type GraphName, type GraphSpec, graphNamesOf, type Manifest } from './manifest-schema.js';
import { rankBatchProblems } from './rank-batch-rules.js';
import { slotUsageProblems } from './slot-usage-rules.js';

interface GraphRoles {
  readonly inputs: ReadonlySet<string>;
  /** The roles of outputs that the graph must have, each at least once. */
  readonly outputs: readonly string[];
  /** Roles of outputs that the graph may have several of. The others it has once. */
  readonly several?: readonly string[];
}

const RANK_INPUTS = [
  'candidate_item',
  'candidate_feature',
  'context_feature',
  'routes',
  'distinct_slots',
  'slot_counts',
  'cluster_counts',
  'cluster_means',
  'position_embeddings',
  'user',
  'raw',
] as const;

const GRAPH_ROLES: Record<GraphName, GraphRoles> = {
  encode: {
    inputs: new Set(['interaction_item', 'interaction_action', 'interaction_feature', 'routes', 'user', 'raw']),
    outputs: [],
    several: ['field'],
  },
  rank: { inputs: new Set(RANK_INPUTS), outputs: ['scores'] },
  rankKv: {
    inputs: new Set([
      'candidate_item',
      'candidate_feature',
      'context_feature',
      'key',
      'value',
      'cluster_counts',
      'cluster_means',
      'position_embeddings',
      'raw',
    ]),
    outputs: ['scores'],
  },
  gather: { inputs: new Set(['slots']), outputs: [], several: ['rows'] },
  explain: {
    inputs: new Set([...RANK_INPUTS, 'slot_places', 'cluster_places']),
    outputs: ['scores', 'base_scores', 'contributions', 'own_contributions', 'attention'],
    several: ['attention'],
  },
  rankBatch: { inputs: new Set([...RANK_INPUTS, 'row_count']), outputs: ['scores'] },
};

/**
 * Checks the rules that the schema cannot express: names that refer to each other, sizes that must agree.
 * @returns one line per problem, each with the path of the problem
 */
export function manifestRuleProblems(manifest: Manifest): string[] {
  return [
    ...duplicateProblems(manifest),
    ...fieldProblems(manifest),
    ...groupProblems(manifest),
    ...clusteringProblems(manifest),
    ...graphProblems(manifest),
    ...rankBatchProblems(manifest),
    ...fileProblems(manifest),
    ...slotUsageProblems(manifest),
  ];
}

function duplicateProblems({ record, groups, clusterings = [], files, actions, features }: Manifest): string[] {
  const lists: [string, string[]][] = [
    ['record.fields', record.fields.map((field) => field.name)],
    ['groups', groups.map((group) => group.name)],
    ['clusterings', clusterings.map((clustering) => clustering.name)],
    ['files', files.map((file) => file.path)],
    ['actions', actions],
    ['features.interaction', features.interaction.map((feature) => feature.name)],
    ['features.candidate', features.candidate.map((feature) => feature.name)],
    ['features.context', features.context.map((feature) => feature.name)],
  ];
  return lists.flatMap(([path, names]) => repeated(names).map((name) => `${path}: ${name} is duplicated`));
}

/** Slots that a route of a type can name. The schema bounds the slots of the wider types. */
const MOST_SLOTS = { uint8: 256, uint16: 65_536, uint24: 2 ** 24, uint32: 2 ** 32 } as const;

function fieldProblems({ record, features }: Manifest): string[] {
  const interaction = new Set(features.interaction.map((feature) => feature.name));
  return record.fields.flatMap((field) => {
    const at = `record.fields.${field.name}`;
    if (field.kind === 'route' && field.slots > MOST_SLOTS[field.type]) {
      const wider = field.slots > MOST_SLOTS.uint16 ? 'uint24' : 'uint16';
      return [`${at}: ${field.slots} slots do not fit ${field.type}, use ${wider}`];
    }
    if (field.kind === 'user' && field.type === 'int8' && field.scale?.length !== field.width) {
      return [`${at}.scale: ${counted(field.scale?.length ?? 0, 'scale')} for ${counted(field.width, 'dimension')}`];
    }
    if (field.kind === 'user' && field.type !== 'int8' && field.scale)
      return [`${at}.scale: ${field.type} takes no scale`];
    if (field.kind === 'raw' && field.source !== 'timestamp_s' && !interaction.has(field.source)) {
      return [`${at}.source: no interaction feature ${field.source}`];
    }
    return [];
  });
}

function groupProblems({ groups, record }: Manifest): string[] {
  const fields = new Map(record.fields.map((field) => [field.name, field]));
  return groups.flatMap((group) => {
    if ((group.value === undefined) !== (group.pool.valueWidth === undefined)) {
      const problem = group.value === undefined ? 'is given, the group has no value part' : 'is missing';
      return [`groups.${group.name}.pool.valueWidth: ${problem}`];
    }
    return (['key', 'value'] as const).flatMap((part) => {
      const at = `groups.${group.name}.${part}`;
      const fieldsOfPart = group[part];
      if (!fieldsOfPart) return [];
      const { route, user } = fieldsOfPart;
      const problems: string[] = [];
      if (!route && !user) problems.push(`${at}: needs a route, a user field or both`);
      const routeField = fields.get(route ?? '');
      if (route && routeField?.kind !== 'route') problems.push(`${at}.route: no route field ${route}`);
      if (routeField?.kind === 'route' && routeField.slots !== group.pool.slots) {
        problems.push(`${at}.route: ${routeField.slots} slots, the pool has ${group.pool.slots}`);
      }
      if (user && fields.get(user)?.kind !== 'user') problems.push(`${at}.user: no user field ${user}`);
      return problems;
    });
  });
}

function graphProblems(manifest: Manifest): string[] {
  return graphNamesOf(manifest).flatMap((graphName) => {
    const graph = manifest.graphs[graphName];
    if (!graph) return [];
    const roles = GRAPH_ROLES[graphName];
    const problems = graph.inputs.flatMap((input) => {
      const at = `graphs.${graphName}.inputs.${input.name}`;
      if (!roles.inputs.has(input.role)) return [`${at}.role: ${graphName} takes no ${input.role}`];
      return referenceProblems(manifest, input, at);
    });
    problems.push(...outputProblems(graph, roles, `graphs.${graphName}.outputs`));
    if (graphName === 'encode') problems.push(...encodeOutputProblems(manifest));
    if (!manifest.files.some((file) => file.path === graph.file)) {
      problems.push(`graphs.${graphName}.file: ${graph.file} is not in files`);
    }
    return problems;
  });
}

function outputProblems({ outputs }: GraphSpec, { outputs: required, several = [] }: GraphRoles, at: string): string[] {
  const allowed = [...new Set([...required, ...several])];
  const wrong = outputs
    .filter(({ role }) => !allowed.includes(role))
    .map(({ name, role }) => `${at}.${name}.role: ${role}, ${allowed.join(' or ')} is required`);
  const counts = allowed.flatMap((role) => {
    const count = outputs.filter((output) => output.role === role).length;
    if (several.includes(role))
      return count > 0 || !required.includes(role) ? [] : [`${at}: an ${role} output is required`];
    return count === 1 ? [] : [`${at}: exactly one ${role} output is required`];
  });
  return [...wrong, ...counts];
}

const FEATURE_KIND = {
  interaction_feature: 'interaction',
  candidate_feature: 'candidate',
  context_feature: 'context',
} as const;
const FIELD_KIND = {
  routes: 'route',
  distinct_slots: 'route',
  slot_counts: 'route',
  slot_places: 'route',
  user: 'user',
  raw: 'raw',
} as const;

function referenceProblems(
  { features, record, groups, clusterings = [] }: Manifest,
  input: GraphInput,
  at: string,
): string[] {
  if ('feature' in input) {
    const known = features[FEATURE_KIND[input.role]].some((feature) => feature.name === input.feature);
    return known ? [] : [`${at}.feature: no ${FEATURE_KIND[input.role]} feature ${input.feature}`];
  }
  if ('field' in input) {
    const kind = FIELD_KIND[input.role];
    const field = record.fields.find(({ name, kind: found }) => name === input.field && found === kind);
    if (!field) return [`${at}.field: no ${kind} field ${input.field}`];
    const dims = input.role === 'user' || input.role === 'raw';
    if (!dims || input.type === 'float32' || (input.type === 'float16' && field.type === 'float16')) return [];
    return [`${at}.type: ${input.type} of a ${field.type} field, float32 or the field's own float16 is required`];
  }
  if ('clustering' in input) {
    const known = clusterings.some((clustering) => clustering.name === input.clustering);
    if (!known) return [`${at}.clustering: no clustering ${input.clustering}`];
    const wanted = input.role === 'cluster_places' ? 'int64' : 'float32';
    return input.type === wanted ? [] : [`${at}.type: ${input.type}, ${wanted} is required`];
  }
  if ('group' in input) {
    const group = groups.find((candidate) => candidate.name === input.group);
    if (!group) return [`${at}.group: no group ${input.group}`];
    const part = input.role === 'slots' ? input.part : input.role;
    return group[part] ? [] : [`${at}.group: ${input.group} has no ${part} part`];
  }
  return [];
}

function encodeOutputProblems({ graphs, record }: Manifest): string[] {
  const outputs = new Set(graphs.encode.outputs.map((output) => (output.role === 'field' ? output.field : '')));
  return record.fields
    .filter((field) => field.kind !== 'raw' && !outputs.has(field.name))
    .map((field) => `graphs.encode.outputs: no output fills the field ${field.name}`);
}

/** Files that no manifest lists: it cannot hold its own digest, and signatures are made after it. */
const UNLISTED = ['bundle.json', 'bundle.json.sig'];

function fileProblems({ files, items, golden }: Manifest): string[] {
  const listed = new Set(files.map((file) => file.path));
  const reserved = files.map(({ path }) => path).filter((path) => UNLISTED.includes(path.toLowerCase()));
  const unlisted = [items.file, golden.tensors, golden.served]
    .filter((path) => !listed.has(path))
    .map((path) => `files: ${path} is missing`);
  return [...unlisted, ...reserved.map((path) => `files: ${path} is the name of a file that is not listed`)];
}
