import type { BundleModel } from '../bundle/bundle-model.js';
import { type Feature, isPositionInput } from '../bundle/manifest-schema.js';
import { writeElement, writeField } from '../bundle/row-layout.js';
import { counted } from '../counted.js';
import { CkvError } from '../errors.js';
import type { Interaction } from '../interaction.js';
import { elementAt, float32, integers, integerType, type Tensor, type Tensors } from '../tensor.js';
import { positionTensor } from './positions.js';

/**
 * Fills the encode graph's inputs by role, one row per interaction.
 * @param interactions interactions of any users. If the bundle encodes with history: of one user, in order
 * @param history the user's rows, oldest first, if the bundle encodes with history; else empty
 */
export function encodeFeeds(
  model: BundleModel,
  interactions: readonly Interaction[],
  history: Uint8Array = new Uint8Array(0),
): Tensors {
  const batch = interactions.length;
  const items = Int32Array.from(interactions, (interaction) => model.items.indexOf(interaction.itemId));
  const actions = Int32Array.from(interactions, (interaction) => model.actionIndex(interaction.action));
  const feeds: Tensors = {};
  for (const input of model.manifest.graphs.encode.inputs) {
    switch (input.role) {
      case 'interaction_item':
        feeds[input.name] = integers(integerType(input.type), items, [batch]);
        break;
      case 'interaction_action':
        feeds[input.name] = integers(integerType(input.type), actions, [batch]);
        break;
      case 'interaction_feature': {
        const feature = featureNamed(model.manifest.features.interaction, input.feature);
        feeds[input.name] = float32(
          Float32Array.from(interactions, (interaction) => featureOf(interaction, feature)),
          [batch],
        );
        break;
      }
      default:
        if (!isPositionInput(input)) throw new CkvError('bug', `the encode graph takes no ${input.role}`);
        feeds[input.name] = positionTensor(model, history, input);
    }
  }
  return feeds;
}

/**
 * Returns how many interactions may share a run of the encode graph, behind a history of `positionCount` positions.
 * Rows must not depend on how interactions are batched. A run attends to every position that it is given, but a full
 * record drops its oldest position for each new one. So runs stop at maxPositions, and behind a full record each
 * interaction gets a run of its own. If every input over positions has a `last` of at most maxPositions, the graph
 * looks no further back than the record, and the limit is infinite.
 */
export function encodeBatchLimit({ manifest }: BundleModel, positionCount: number): number {
  const { maxPositions, graphs } = manifest;
  const bounded = graphs.encode.inputs.every(
    (input) => !isPositionInput(input) || (input.last ?? Number.POSITIVE_INFINITY) <= maxPositions,
  );
  return bounded ? Number.POSITIVE_INFINITY : Math.max(1, maxPositions - positionCount + 1);
}

/** Counts the interactions with an unknown item, and those with an unknown action. */
export function countUnknown(
  model: BundleModel,
  interactions: readonly Interaction[],
): { readonly items: number; readonly actions: number } {
  return {
    items: interactions.filter(({ itemId }) => model.items.indexOf(itemId) === 0).length,
    actions: interactions.filter(({ action }) => model.actionIndex(action) === 0).length,
  };
}

/**
 * Packs the encode graph's outputs into record rows.
 * @returns rows of strideBytes, in the order of the interactions
 * @throws bundle_invalid if an output is missing or has another length than its field requires
 */
export function packRows(model: BundleModel, outputs: Tensors, interactions: readonly Interaction[]): Uint8Array {
  const { strideBytes, fields } = model.layout;
  const rows = new Uint8Array(interactions.length * strideBytes); // [batch * stride]
  const view = new DataView(rows.buffer);
  const outputOf = new Map(
    model.manifest.graphs.encode.outputs.map((output) => [output.role === 'field' ? output.field : '', output.name]),
  );
  for (const field of fields) {
    if (field.kind === 'raw') {
      interactions.forEach((interaction, row) => {
        writeElement(view, row * strideBytes, field, 0, rawValue(model, field.source, interaction));
      });
      continue;
    }
    const tensor = requireOutput(outputs, outputOf.get(field.name) ?? '', interactions.length * field.width);
    if ((tensor.type === 'float16' || tensor.type === 'float32') && tensor.type === field.type) {
      writeField(rows, strideBytes, field, tensor.data);
      continue;
    }
    for (let row = 0, from = 0; row < interactions.length; row++) {
      for (let i = 0; i < field.width; i++) {
        writeElement(view, row * strideBytes, field, i, elementAt(tensor, from++));
      }
    }
  }
  return rows;
}

function rawValue(model: BundleModel, source: string, interaction: Interaction): number {
  if (source === 'timestamp_s') return Math.min(Math.floor(interaction.timestampMs / 1000), 2 ** 32 - 1);
  return featureOf(interaction, featureNamed(model.manifest.features.interaction, source));
}

function requireOutput(outputs: Tensors, name: string, length: number): Tensor {
  const tensor = outputs[name];
  if (tensor?.data.length !== length) {
    throw new CkvError(
      'bundle_invalid',
      `encode output ${name} has ${counted(tensor?.data.length ?? 0, 'element')}, not ${length}`,
    );
  }
  return tensor;
}

/** Returns a feature by name. Throws a `bug` for an unknown name, since the manifest's names were checked. */
function featureNamed(features: readonly Feature[], name: string): Feature {
  const feature = features.find((candidate) => candidate.name === name);
  if (!feature) throw new CkvError('bug', `no feature ${name}`);
  return feature;
}

/** Returns a feature within its bounds, or its default. A feature may be called `constructor`. */
function featureOf({ features }: Interaction, { name, min, max, default: fallback }: Feature): number {
  const value = Object.hasOwn(features, name) ? features[name] : undefined;
  return value === undefined ? fallback : Math.min(max, Math.max(min, value));
}
