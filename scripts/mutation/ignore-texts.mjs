// Stryker plugin: leaves texts for people unmutated. Nothing depends on the wording of an error, of a log line, or of a
// variable's description; tests assert the parts that callers need. Reasons, fields, keys and names stay mutated.
import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin';

/** Positions of the texts among the arguments, by the callee's name. */
const TEXT_ARGUMENTS = new Map([
  ['CkvError', [1]],
  ['Error', [0]],
  ['invalidRequest', [1, 2]],
  ['describe', [0]],
  ['regex', [1]],
  ['refine', [1]],
  ['debug', [1]],
  ['info', [1]],
  ['warn', [1]],
  ['error', [1]],
]);

export const strykerPlugins = [
  declareValuePlugin(PluginKind.Ignore, 'texts', {
    shouldIgnore({ node, parentPath, listKey, key }) {
      if (listKey !== 'arguments' || !['StringLiteral', 'TemplateLiteral'].includes(node.type)) return undefined;
      const { callee } = parentPath.node;
      const name = callee.type === 'MemberExpression' ? callee.property.name : callee.name;
      return TEXT_ARGUMENTS.get(name)?.includes(key) ? 'a text for people' : undefined;
    },
  }),
];
