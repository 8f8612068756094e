import type { BundleStatus } from '@collectivekv/operations';
import { expect, it } from 'vitest';
import { statusTable } from './bundle-status.js';

const status = (overrides: Partial<BundleStatus>): BundleStatus => ({
  id: 'a'.repeat(16),
  name: 'demo',
  encodingId: 'e'.repeat(16),
  state: 'active',
  shareBp: 0,
  rollbackTarget: false,
  coverage: null,
  followers: [],
  ...overrides,
});

it('shows the coverage, the share, and how many replicas of each service have loaded a bundle', () => {
  const replica = (service: string, replicaId: string, loaded: boolean) => ({ service, replicaId, loaded });
  const followers = [replica('updater', 'u', true), replica('ranking', 'a', true), replica('ranking', 'b', false)];
  const lines = statusTable([
    status({}),
    status({
      encodingId: 'f'.repeat(16),
      state: 'canary',
      shareBp: 250,
      coverage: { sampledCount: 800, warmCount: 500 },
      followers,
    }),
    status({ encodingId: 'f'.repeat(16), state: 'warming', coverage: { sampledCount: 0, warmCount: 0 } }),
    status({ encodingId: 'f'.repeat(16), state: 'loaded' }),
  ]).split('\n');
  expect(lines.find((line) => line.includes('active '))).toContain('records of the active bundle');
  const canary = lines.find((line) => line.includes('canary'));
  expect(canary).toContain('2.5%');
  expect(canary).toContain('62.5% of 800 requests');
  expect(canary).toContain('ranking 1 of 2, updater 1 of 1');
  expect(lines.find((line) => line.includes('warming'))).toContain('unknown');
});

it('says where a rollback leads: to a bundle, to the end of canaries, or to none', () => {
  const previous = { id: 'b'.repeat(16), name: 'before', state: 'previous' };
  const lastLine = (...bundles: BundleStatus[]) => statusTable(bundles).split('\n').at(-1);
  expect(lastLine(status({}), status({ ...previous, rollbackTarget: true }))).toBe(
    'a rollback leads to: bbbbbbbbbbbbbbbb (before)',
  );
  expect(lastLine(status({ rollbackTarget: true }), status({ ...previous, state: 'canary' }))).toBe(
    'a rollback leads to: aaaaaaaaaaaaaaaa (demo); it is active already, and bbbbbbbbbbbbbbbb would serve nobody',
  );
  expect(lastLine(status({}), status(previous))).toBe('a rollback leads to: none');
});
