import { expect, it } from 'vitest';
import { uniqueId } from './bundle-id.js';

const bundles = [
  { bundleId: '0000000000000001', name: 'demo', loaded: true },
  { bundleId: '0000000000000002', name: 'demo', loaded: true },
  { bundleId: '0000000000000003', name: 'mine', loaded: true },
  { bundleId: '0000000000000004', name: 'next', loaded: false },
  { bundleId: '0000000000000005', name: 'mine', loaded: false },
];

it('finds a loaded bundle by its name', () => expect(uniqueId(bundles, 'mine', {})).toBe('0000000000000003'));

it('finds a bundle that was copied, for a command that loads it', () => {
  expect(uniqueId(bundles, 'next', { orCopied: true })).toBe('0000000000000004');
  expect(() => uniqueId(bundles, 'next', {})).toThrow(
    '"next" (0000000000000004) is not loaded; load it with "ckv bundle warm 0000000000000004"',
  );
});

it('refuses a name that several bundles have, or none, and lists ids', () => {
  expect(() => uniqueId(bundles, 'demo', {})).toThrow(
    'the bundles 0000000000000001 and 0000000000000002 are named "demo"; give one of these ids',
  );
  expect(() => uniqueId(bundles, 'mine', { orCopied: true })).toThrow(
    'the bundles 0000000000000003 and 0000000000000005, not loaded are named "mine"',
  );
  expect(() => uniqueId(bundles, 'min', {})).toThrow(
    /no bundle of the pool has the id or the name "min"; it has demo \(0+1\), .*next \(0+4, not loaded\)/,
  );
});
