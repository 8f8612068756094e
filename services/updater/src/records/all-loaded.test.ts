import type { BundleFollower, LoadedBundle } from '@collectivekv/bundles';
import { expect, it, vi } from 'vitest';
import { allLoaded } from './all-loaded.js';
import { bundleOf } from './record-writer.fixture.js';

const [active, warming] = [bundleOf('active', {}), bundleOf('warming', {})];
type Announced = ReturnType<BundleFollower['announced']>[number];
const announced = [active, warming].map(
  ({ model: { id } }, i): Announced => ({
    bundleId: id,
    state: i === 0 ? 'active' : 'warming',
    shareBp: 0,
    recordsChange: 0,
  }),
);

/** Waits for bundles of which the first are loaded. Says whether the wait is over, and what was logged. */
function wait(loaded: LoadedBundle[], patienceMs: number, ready = Promise.resolve()) {
  const stopping = new AbortController();
  const warn = vi.fn();
  const state = { over: false, reads: 0, warn, stopping };
  const all = () => {
    state.reads++;
    return loaded;
  };
  const bundles = { ready, announced: () => announced, all };
  const ended = allLoaded({ bundles, patienceMs, log: { warn }, signal: stopping.signal }).then(() => {
    state.over = true;
  });
  return { ended, state };
}

it('waits until the last announced bundle is loaded', async () => {
  const loaded = [active];
  const { state, ended } = wait(loaded, 600_000);
  await vi.waitUntil(() => state.reads > 2);
  expect(state.over).toBe(false);
  loaded.push(warming);
  await ended;
  expect(state.warn).not.toHaveBeenCalled();
});

it('does not wait for ever for a bundle that does not load, and names it', async () => {
  const { state, ended } = wait([active], 0);
  await ended;
  expect(state.warn).toHaveBeenCalledWith({ bundleIds: [warming.model.id] }, expect.any(String));
});

it('waits for the active bundle without end, and ends when the updater stops', async () => {
  const { ended } = wait([active, warming], 0, new Promise(() => undefined));
  expect(await Promise.race([ended.then(() => 'over'), Promise.resolve('waits')])).toBe('waits');
  const stopped = wait([active], 600_000);
  stopped.state.stopping.abort();
  await stopped.ended;
});
