import { readFileSync } from 'node:fs';
import { invalidRequest } from '@collectivekv/domain';
import { Command } from 'commander';
import { afterEach, expect, it, vi } from 'vitest';
import { addSwitchCommands } from './bundle-switch-commands.js';
import type { Connections } from './connections.js';

const manifest = readFileSync(new URL('../../../test/fixtures/bundles/target/bundle.json', import.meta.url), 'utf8');
const [ACTIVE, PREVIOUS] = ['a'.repeat(16), 'b'.repeat(16)];
const calls = vi.fn();
afterEach(() => {
  vi.restoreAllMocks();
  calls.mockClear();
});

/** Runs a command while nobody names the queue's Redis. The two bundles have an encoding each. */
async function run(...args: string[]): Promise<void> {
  async function* announcements() {
    yield {
      bundles: [
        { bundleId: ACTIVE, state: 'BUNDLE_STATE_ACTIVE', shareBp: 0 },
        { bundleId: PREVIOUS, state: 'BUNDLE_STATE_PREVIOUS', shareBp: 0 },
      ],
    };
  }
  const describe = (bundleId: string) => ({
    bundleId,
    encodingId: bundleId,
    manifest,
    loadedBundleIds: [ACTIVE, PREVIOUS],
    rollbackBundleId: PREVIOUS,
    latestChange: 1,
  });
  const pool = {
    stream: announcements,
    async call(name: string, { bundleId = '' }: { bundleId?: string }) {
      if (name === 'Describe') return describe(bundleId);
      calls(name);
      return { activeBundleId: PREVIOUS, previousBundleId: ACTIVE, endedCanaryIds: [] };
    },
  };
  const unnamed = () => Promise.reject(invalidRequest('--queue-redis', 'is required', 'name it'));
  const connections = { pool: () => pool, warmings: unnamed, claims: unnamed, print: () => undefined };
  const bundle = new Command('bundle');
  addSwitchCommands(bundle, connections as unknown as Connections);
  await bundle.parseAsync(args, { from: 'user' });
}

it.each([
  ['activate', PREVIOUS, '--force'],
  ['canary', PREVIOUS, '--share', '5%', '--force'],
])('refuses to %s a bundle if its backfill cannot be looked up', async (...args) => {
  await expect(run(...args)).rejects.toMatchObject({ message: '--queue-redis: is required; name it' });
  expect(calls).not.toHaveBeenCalled();
});

it('rolls back without the Redis of the queue, and warns', async () => {
  const warnings = vi.spyOn(console, 'error').mockReturnValue();
  await run('rollback');
  expect(calls.mock.calls).toEqual([['Rollback']]);
  const unknown = `warning: it is unknown whether bundle ${PREVIOUS} has an unfinished backfill: --queue-redis: is required`;
  expect(warnings.mock.calls).toEqual([[expect.stringContaining(unknown)]]);
});
