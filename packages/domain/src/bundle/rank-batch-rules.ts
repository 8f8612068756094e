import type { GraphInput, GraphSpec, Manifest } from './manifest-schema.js';

const USERS = 'users';

/**
 * Checks that the graph `rankBatch` is the graph `rank` for a batch of users, and can tell padding from rows.
 * @returns one line per problem, each with the path of the problem
 */
export function rankBatchProblems({ graphs: { rank, rankBatch } }: Manifest): string[] {
  if (!rankBatch) return [];
  return [...inputProblems(rank, rankBatch), ...rowCountProblems(rank, rankBatch), ...scoreProblems(rankBatch)];
}

function inputProblems(rank: GraphSpec, { inputs }: GraphSpec): string[] {
  const given = new Map(inputs.map((input) => [input.name, input]));
  const lacking = rank.inputs.flatMap((input) => {
    const batched = given.get(input.name);
    if (!batched) return [`graphs.rankBatch.inputs: ${input.name} of rank is missing`];
    if (textOf(batched) === textOf({ ...input, shape: [USERS, ...input.shape] })) return [];
    return [`graphs.rankBatch.inputs.${input.name}: differs from that of rank with the axis ${USERS} in front`];
  });
  const known = new Set(rank.inputs.map(({ name }) => name));
  const unknown = inputs.filter(({ name, role }) => role !== 'row_count' && !known.has(name));
  return [...lacking, ...unknown.map(({ name }) => `graphs.rankBatch.inputs.${name}: rank has no such input`)];
}

/** Returns a text that is the same for equal inputs. */
function textOf(input: GraphInput): string {
  return JSON.stringify(Object.entries(input).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function rowCountProblems(rank: GraphSpec, { inputs }: GraphSpec): string[] {
  const counts = inputs.filter((input) => input.role === 'row_count');
  const axes = new Set(rank.inputs.filter(isOfPositions).map(({ shape: [axis = ''] }) => String(axis)));
  const wrong = counts.flatMap(({ name, axis, type, shape }) => {
    const at = `graphs.rankBatch.inputs.${name}`;
    if (!axes.has(axis)) return [`${at}.axis: no positions of rank have the axis ${axis}`];
    return type === 'int64' && shape.join() === USERS ? [] : [`${at}: int64 [${USERS}] is required`];
  });
  const uncounted = [...axes].filter((axis) => counts.filter((count) => count.axis === axis).length !== 1);
  return [
    ...wrong,
    ...uncounted.map((axis) => `graphs.rankBatch.inputs: exactly one row_count of ${axis} is required`),
  ];
}

/** True if rows of the input are positions. Slots and clusters have counts instead: padding counts 0. */
function isOfPositions({ role }: GraphInput): boolean {
  return role === 'routes' || role === 'user' || role === 'raw' || role === 'position_embeddings';
}

function scoreProblems({ outputs }: GraphSpec): string[] {
  return outputs
    .filter(({ type, shape }) => type !== 'float32' || shape.join() !== `${USERS},candidates`)
    .map(({ name }) => `graphs.rankBatch.outputs.${name}: float32 [${USERS}, candidates] is required`);
}
