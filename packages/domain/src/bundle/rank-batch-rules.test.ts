import { expect, it } from 'vitest';
import { addRankBatchGraph, fixtureManifest, manifestBytes } from './manifest.fixture.js';
import { parseManifest } from './manifest.js';
import { GRAPH_NAMES, type GraphSpec, graphNamesOf } from './manifest-schema.js';

it('accepts a graph for batches of users, and knows that the bundle has it', () => {
  const draft = fixtureManifest();
  addRankBatchGraph(draft);
  const parsed = parseManifest(manifestBytes(draft));
  expect(parsed).toEqual(draft);
  expect(graphNamesOf(parsed)).toEqual([...GRAPH_NAMES, 'rankBatch']);
});

/** Returns an input of a graph. */
function inputOf({ inputs }: GraphSpec, name: string) {
  const found = inputs.find((input) => input.name === name);
  if (!found) throw new Error(`no input ${name}`);
  return found;
}

it.each<[string, (graph: GraphSpec) => void, string]>([
  [
    'lacks an input of rank',
    (graph) => {
      graph.inputs = graph.inputs.filter(({ name }) => name !== 'slots');
    },
    'inputs: slots of rank is missing',
  ],
  [
    'has an input that rank does not have',
    (graph) => {
      graph.inputs.push({ ...inputOf(graph, 'slots'), name: 'more' });
    },
    'inputs.more: rank has no such input',
  ],
  [
    'has an input of another shape',
    (graph) => {
      inputOf(graph, 'hour').shape = ['users'];
    },
    'inputs.hour: differs from that of rank with the axis users in front',
  ],
  [
    'has an input of another type',
    (graph) => {
      inputOf(graph, 'user_key').type = 'float16';
    },
    'inputs.user_key: differs from that of rank with the axis users in front',
  ],
  [
    'cannot tell padding from positions',
    (graph) => {
      graph.inputs = graph.inputs.filter(({ role }) => role !== 'row_count');
    },
    'inputs: exactly one row_count of positions is required',
  ],
  [
    'counts positions twice',
    (graph) => {
      graph.inputs.push({ ...inputOf(graph, 'rows'), name: 'again' });
    },
    'inputs: exactly one row_count of positions is required',
  ],
  [
    'counts rows that have counts',
    (graph) => {
      graph.inputs.push({ name: 'more', role: 'row_count', axis: 'slots', type: 'int64', shape: ['users'] });
    },
    'inputs.more.axis: no positions of rank have the axis slots',
  ],
  [
    'counts positions in float32',
    (graph) => {
      inputOf(graph, 'rows').type = 'float32';
    },
    'inputs.rows: int64 [users] is required',
  ],
  [
    'counts the positions of all users together',
    (graph) => {
      inputOf(graph, 'rows').shape = [];
    },
    'inputs.rows: int64 [users] is required',
  ],
  [
    'scores one user only',
    (graph) => {
      graph.outputs[0] = { name: 'scores', role: 'scores', type: 'float32', shape: ['candidates'] };
    },
    'outputs.scores: float32 [users, candidates] is required',
  ],
])('refuses a graph for batches of users that %s', (_, change, problem) => {
  const draft = fixtureManifest();
  change(addRankBatchGraph(draft));
  expect(() => parseManifest(manifestBytes(draft))).toThrow(`graphs.rankBatch.${problem}`);
});

it('refuses a count of rows in any other graph', () => {
  const draft = fixtureManifest();
  const rows = inputOf(addRankBatchGraph(draft), 'rows');
  draft.graphs.rank.inputs.push(rows);
  expect(() => parseManifest(manifestBytes(draft))).toThrow('graphs.rank.inputs.rows.role: rank takes no row_count');
});
