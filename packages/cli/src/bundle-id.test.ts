import { expect, it } from 'vitest';
import { uniqueId } from './bundle-id.js';

const bundles = [
  { id: '0000000000000001', name: 'demo' },
  { id: '0000000000000002', name: 'demo' },
  { id: '0000000000000003', name: 'mine' },
];

it('finds a bundle by its name', () => expect(uniqueId(bundles, 'mine')).toBe('0000000000000003'));

it('refuses a name that several bundles have, or none, and lists ids', () => {
  expect(() => uniqueId(bundles, 'demo')).toThrow(
    'the bundles 0000000000000001 and 0000000000000002 are named "demo"; give one of these ids',
  );
  expect(() => uniqueId(bundles, 'min')).toThrow(
    /no loaded bundle has the id or the name "min"; loaded: demo \(0+1\), /,
  );
});
