import { expect, it } from 'vitest';
import { unknownNames } from './unknown-names.js';

const feature = { name: 'watch_ratio', min: 0, max: 1, default: 0.5 };
const manifest = {
  actions: ['<unknown>', 'skip', 'like'],
  features: { interaction: [feature], candidate: [], context: [] },
};

it('knows the actions and features of the bundle', () => {
  expect(unknownNames(manifest, { action: 'like', feature: { watch_ratio: 0.5 } })).toEqual([]);
  expect(unknownNames(manifest, {})).toEqual([]);
});

it('warns of other names, and lists those that the bundle has', () => {
  expect(unknownNames(manifest, { action: 'bogus', feature: { watch: 1, watch_ratio: 1 } })).toEqual([
    'the active bundle has no action "bogus", which counts as unknown; it has skip, like',
    'the active bundle has no interaction feature "watch", which is ignored; it has watch_ratio',
  ]);
  expect(unknownNames(manifest, { action: '<unknown>' })).toHaveLength(1);
});
